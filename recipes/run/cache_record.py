"""Records in a run which stored outputs of the teacher its student learned from."""

import json

from keras_diffkd.atomic_files import written_aside
from keras_diffkd.resuming.fingerprints import differences

FILE_NAME = "teacher_cache.json"


def write_cache_record(folder, cache):
    """Writes the description of a cache, which may be deleted after the training.

    Args:
        folder: `Path` of the run.
        cache: `TeacherCache`.
    """
    parts = {name: cache.manifest[name] for name in ("teacher", "data", "contents")}
    with written_aside(folder / FILE_NAME) as aside:
        aside.write_text(json.dumps(parts, indent=1) + "\n", encoding="utf-8")


def describe_cache(folder):
    """Returns the recorded cache of a run as text, or `None` without one.

    Args:
        folder: `Path` of the run.
    """
    record = _read(folder)
    if record is None:
        return None
    contents, views = record["contents"], record["data"]["views"]
    logits = f"all {contents['classes']} logits"
    if contents["top_k"] is not None:
        logits = f"the {contents['top_k']} largest of {contents['classes']} logits"
    features = [
        f"{'mean of ' if tap in contents['pooled'] else ''}{tap}"
        for tap in contents["features"]
    ]
    return (
        f"stored, {views} {'view' if views == 1 else 'views'} of each image, "
        f"{contents['dtype']}: {', '.join([logits, *features])}"
    )


def other_cache(folder, first):
    """Tells how the outputs that a run learned from differ from those of another run.

    Results of two runs that learned from different outputs are not results of two
    seeds of one method.

    Args:
        folder: `Path` of the run.
        first: `Path` of the other run.

    Returns:
        str, or None if both learned from the same cache, or both from the teacher
        itself.
    """
    own, others = _read(folder), _read(first)
    if own is None or others is None:
        if own is others:
            return None
        words = "a teacher cache", "the teacher itself"
        mine, theirs = words if others is None else words[::-1]
        return f"it learned from {mine}, the first run from {theirs}"
    told = differences(others, own)
    return f"it learned from another teacher cache: {told}" if told else None


def _read(folder):
    path = folder / FILE_NAME
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
