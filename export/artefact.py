"""The check of one artefact against the manifest and the Keras student."""

from keras_diffkd.export.comparison import NOT_MEASURED
from keras_diffkd.export.delegates import find_delegation_problem
from keras_diffkd.export.formats import FORMATS
from keras_diffkd.export.inspection import INSPECTORS, find_size_problem
from keras_diffkd.export.judgement import judge
from keras_diffkd.export.manifest import find_damage
from keras_diffkd.export.metadata import (
    describe_file,
    find_differences,
    read_metadata,
)
from keras_diffkd.export.reference import latency_ms, predict
from keras_diffkd.export.runtimes import RUNTIMES


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
        outputs = predict(runtime, reference.samples)
        result["latency_ms"] = latency_ms(
            runtime, reference.samples, runtime.batch_size or 1
        )
    except Exception as error:  # Every runtime has its own, some of them bare.
        message = str(error).strip() or type(error).__name__
        result["reasons"] = [f"does not run: {message.splitlines()[0]}", *reasons]
        return result
    measured, found, warnings = judge(
        kind.precision, outputs, reference, tolerance, quantized_tolerance
    )
    if kind.family == "tflite":
        warnings = warnings + find_delegation_problem(runtime.operations)
    reasons = found + reasons
    result |= {"reasons": reasons, "warnings": warnings, "ok": not reasons}
    return {**result, **measured}


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
