"""Finds the layers that stay float because the user said so."""

import difflib

from keras_diffkd.quantization.kinds import Kind, kind_of
from keras_diffkd.quantization.recording import operations_of


def skipped_paths(student, recording, skip):
    """Returns the paths of all layers that `skip` names."""
    paths = [path for _, path in operations_of(student)[0].values()]
    skipped = set()
    for name in skip:
        found = {path for path in paths if f"/{name}/" in f"/{path}/"}
        if not found:
            names = sorted({*paths, *(p for path in paths for p in path.split("/"))})
            closest = difflib.get_close_matches(name, names, n=5)
            raise ValueError(
                f"`skip` must name layers of the student {student.name!r}. Received: "
                f"{name!r}. Closest existing names: {closest or names[:5]}."
            )
        skipped |= found
    for call in recording.calls:
        if call.path in skipped:
            skipped |= _normalizations_after(call, recording)
    return skipped


def _normalizations_after(call, recording):
    """Returns the paths of batch normalizations that scale the result of a call."""
    if kind_of(call.operation) is not Kind.KERNEL:
        return set()
    return {
        other.path
        for other in recording.calls
        if kind_of(other.operation) is Kind.NORMALIZATION
        and set(other.inputs) & set(call.outputs)
    }
