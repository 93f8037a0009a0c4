"""The check of one artefact against the manifest and the Keras student."""

from ..formats import FORMATS
from ..formats.delegates import find_delegation_problem
from ..formats.inspection import INSPECTORS, find_size_problem
from ..formats.metadata import (
    describe_file,
    find_differences,
    read_metadata,
)
from ..formats.runtimes import RUNTIMES
from ..records.manifest import find_damage
from ..serving.sizes import unknown_axes
from .comparison import NOT_MEASURED, compare
from .judgement import judge
from .reference import latency_ms, predict


def check_artefact(name, folder, manifest, reference, tolerance, quantized_tolerance):
    """Returns what the report of `verify` says of one artefact.

    Args:
        name: of the format.
        folder: `Path` of the export.
        manifest: dict.
        reference: `Reference` of the student.
        tolerance: float, of float32.
        quantized_tolerance: float, of metrics.

    Example:

    ```python
    check_artefact("onnx", folder, manifest, reference, 1e-4, 0.005)["ok"]  # True
    ```
    """
    kind, entry = FORMATS[name], manifest["artefacts"][name]
    path = folder / entry["file"]
    limits = (tolerance, quantized_tolerance)
    result = {
        "file": entry["file"],
        "size": entry["size"],
        "sha256": entry["sha256"],
        "precision": kind.precision,
        "ok": False,
        "reasons": find_damage(path, entry),
        "warnings": [],
        **NOT_MEASURED,
        **dict.fromkeys(reference.values),
        "latency_ms": None,
        "batch_size": None,
        "num_threads": None,
    }
    if result["reasons"]:
        return result
    reasons = [
        *_check_metadata(name, path, manifest),
        *find_size_problem(entry["size"], kind.precision, reference.serving),
        *_inspect(kind.family, path),
    ]
    try:
        runtime = RUNTIMES[kind.family](path)
        result["batch_size"] = runtime.batch_size
        result["num_threads"] = runtime.num_threads
        interface = _check_interface(runtime, entry)
        if interface:
            result["reasons"] = interface + reasons
            return result
        given = {k: a.shape[1:] for k, a in reference.samples.inputs.items()}
        for spec in entry["inputs"]:
            # Of a student that takes any size.
            sizes = zip(spec["shape"][1:], given[spec["name"]], strict=True)
            if any(size not in (None, of_sample) for size, of_sample in sizes):
                result["reasons"] = [
                    f"takes '{spec['name']}' of shape {spec['shape']} alone, and the "
                    f"samples are of {list(given[spec['name']])}; pass such samples",
                    *reasons,
                ]
                return result
        outputs = predict(runtime, reference.samples)
        others = _judge_other_size(kind.precision, runtime, entry, reference, limits)
        result["latency_ms"] = latency_ms(
            runtime, reference.samples, runtime.batch_size or 1
        )
    except Exception as error:  # Every runtime has its own, some of them bare.
        message = str(error).strip() or type(error).__name__
        result["reasons"] = [f"does not run: {message.splitlines()[0]}", *reasons]
        return result
    measured, found, warnings = judge(kind.precision, outputs, reference, *limits)
    found = found + others
    if kind.family == "tflite":
        warnings = warnings + find_delegation_problem(runtime.operations)
    reasons = found + reasons
    result |= {"reasons": reasons, "warnings": warnings, "ok": not reasons}
    return {**result, **measured}


def _judge_other_size(precision, runtime, entry, reference, limits):
    """Returns what is wrong with an artefact at another size, if it takes any."""
    other = reference.other
    if other is None or not unknown_axes(entry["inputs"]):
        return []
    outputs = predict(runtime, other.samples)
    if precision == "float32":
        _, reasons, _ = judge(precision, outputs, other, *limits)
    else:  # These are a few examples, and not those of the task.
        _, reasons = compare(outputs, other.outputs, None, must_agree=False)
    shapes = [list(array.shape[1:]) for array in other.samples.inputs.values()]
    return [f"with inputs of {shapes}: {reason}" for reason in reasons]


def _inspect(family, path):
    """Looks into the file before it runs: a runtime's own words say less."""
    try:
        return INSPECTORS[family](path)
    except Exception:  # What cannot be read does not run either, and that is said.
        return []


def _check_metadata(name, path, manifest):
    try:
        found = read_metadata(FORMATS[name].family, path)
    except Exception as error:  # As many kinds as there are readers.
        message = " ".join(str(error).split())[:200] or type(error).__name__
        return [f"wrong metadata: it cannot be read: {message}"]
    return find_differences(found, describe_file(manifest, name))


def _check_interface(runtime, entry):
    reasons = []
    for kind in ("inputs", "outputs"):
        expected = sorted(entry[kind], key=lambda spec: spec["name"])
        found = sorted(getattr(runtime, kind), key=lambda spec: spec["name"])
        if found != expected:
            reasons.append(
                f"wrong {kind}: expected {_format_specs(expected)}, "
                f"found {_format_specs(found)}"
            )
    return reasons


def _format_specs(specs):
    return ", ".join(
        f"{spec['name']} {spec['shape']} {spec['dtype']}"
        + (f" {spec['quantization']}" if "quantization" in spec else "")
        for spec in specs
    )
