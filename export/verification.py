"""Proof that the artefacts of an export compute what the Keras student computes."""

from pathlib import Path

from keras_diffkd.export.comparison import NOT_MEASURED, compare
from keras_diffkd.export.detection import is_detector
from keras_diffkd.export.errors import ManifestError, VerificationError
from keras_diffkd.export.folder import recover
from keras_diffkd.export.manifest import FILE_NAME, find_damage, read_manifest
from keras_diffkd.export.metrics import check_metrics, compare_metrics, measure
from keras_diffkd.export.quiet import quiet
from keras_diffkd.export.reference import latency_ms, make_reference, predict
from keras_diffkd.export.requirements import require_packages
from keras_diffkd.export.runtimes import RUNTIMES
from keras_diffkd.export.samples import read_samples
from keras_diffkd.export.serving import Serving

TOLERANCE = 1e-4


def verify(output_dir, student, samples, *, tolerance=TOLERANCE, metrics=None):
    """Compares every artefact of an export with the Keras student.

    Each artefact must be there with the size and sha256 of the manifest, load in the
    runtime it is meant for (TensorFlow, onnxruntime, LiteRT), have the manifest's
    names, shapes and dtypes, and give finite outputs that differ from the student's
    by at most `tolerance`. Besides, it must predict the same class on every sample
    (of segmenters and detectors: for all but 0.1% of the pixels or anchors), or, with
    `metrics`, have every metric within 0.001 of the student's. A damaged file is not
    loaded: some runtimes crash on one.

    Detections after non-maximum suppression are compared in whatever order: all but
    0.1% must be among the student's, with the same class and box and score within
    `tolerance`.

    Args:
        output_dir: folder that `export_student` wrote.
        student: the `keras.Model` that was exported. In half precision it is
            compared as `export_student` exports it, in float32; a RetinaNet with its
            boxes decoded, and suppressed where the export's are.
        samples: what the student takes: float array `(N, ...)`, already normalised,
            or the dictionary or list of arrays of a student with several inputs; or
            a tuple `(inputs, targets)`: integer labels `(N,)`, of segmenters
            `(N, height, width)`, which add the accuracy, or what `metrics` takes.
            None for 64 seeded standard normal inputs.
        tolerance: float. Largest absolute difference allowed.
        metrics: None for the accuracy, or a callable `(outputs, targets) -> dict` of
            floats by name. `outputs` is a dict of arrays by output name for all
            samples; `targets`, an array or structure of arrays with the examples as
            first axis, is what `samples` holds.

    Returns:
        dict with `output_dir`, `tolerance`, `num_samples`, `samples`, `metrics` (their
        names), `failures` (file: reasons; empty here), `keras` (`parameters`,
        `latency_ms` and each metric by its name) and `artefacts`, which maps each
        format to `file`, `size` (bytes), `ok`, `reasons`, `max_difference`,
        `mean_difference`, `agreement` (of the predictions of class scores, or of
        detections, 0 to 1), each metric, `latency_ms` (median at batch size 1) and
        `num_threads` of that (None: as TensorFlow is set in this process). What was
        not measured is None.

    Raises:
        VerificationError: naming each failed artefact with its reasons; the report is
            the error's `report`.
        ValueError: if student, samples or metrics are not usable.
        ImportError: if a runtime is not installed.

    Example:

    ```python
    report = verify("runs/digits/export", student, (test_images, test_labels))
    print(format_table(report))
    ```
    """
    check_tolerance(tolerance)
    check_metrics(metrics)
    output_dir = Path(output_dir).resolve()
    recover(output_dir)
    try:
        manifest = read_manifest(output_dir)
    except ManifestError as error:
        raise VerificationError(
            {"output_dir": str(output_dir), "failures": {FILE_NAME: [str(error)]}}
        ) from error
    serving = Serving(student, _suppression(student, manifest))
    samples = read_samples(serving, samples, metrics)
    require_packages(manifest["artefacts"], writing=False)
    reference = make_reference(serving, samples, metrics)
    report = check_artefacts(output_dir, manifest, reference, tolerance)
    raise_failures(output_dir, report)
    return {"output_dir": str(output_dir), **report}


def _suppression(student, manifest):
    """Returns the `nms` that a detector was exported with."""
    # What `decoded` gave has it inside already.
    detection = manifest.get("detection") if is_detector(student) else None
    return detection and detection["nms"]


def check_tolerance(tolerance):
    """Raises `ValueError` unless a tolerance can be one.

    Example:

    ```python
    check_tolerance(1e-4)
    ```
    """
    if not tolerance >= 0:
        raise ValueError(
            f"Expected a tolerance of 0 or more. Received: tolerance={tolerance!r}"
        )


def check_artefacts(folder, manifest, reference, tolerance):
    """Returns the report of `verify`, whatever it says.

    Args:
        folder: `Path` with the artefacts.
        manifest: dict; only its `artefacts` are used.
        reference: `Reference` of the student.
        tolerance: float.

    Example:

    ```python
    check_artefacts(folder, read_manifest(folder), reference, 1e-4)["failures"]
    ```
    """
    report = {
        "tolerance": tolerance,
        "num_samples": len(reference.samples),
        "samples": reference.samples.origin,
        "metrics": list(reference.values),
        "keras": {
            "parameters": reference.parameters,
            **reference.values,
            "latency_ms": reference.latency_ms,
        },
        "artefacts": {},
    }
    for name, entry in manifest["artefacts"].items():
        with quiet():
            report["artefacts"][name] = _check_artefact(
                name, folder / entry["file"], entry, reference, tolerance
            )
    report["failures"] = {
        result["file"]: result["reasons"]
        for result in report["artefacts"].values()
        if not result["ok"]
    }
    return report


def raise_failures(output_dir, report):
    """Raises `VerificationError` if a report of `check_artefacts` has failures.

    Example:

    ```python
    raise_failures("export", {"failures": {}})
    ```
    """
    if report["failures"]:
        raise VerificationError({"output_dir": str(output_dir), **report})


def _check_artefact(name, path, entry, reference, tolerance):
    result = {
        "file": entry["file"],
        "size": entry["size"],
        "ok": False,
        "reasons": find_damage(path, entry),
        **NOT_MEASURED,
        **dict.fromkeys(reference.values),
        "latency_ms": None,
        "num_threads": RUNTIMES[name].num_threads,
    }
    if result["reasons"]:
        return result
    try:
        runtime = RUNTIMES[name](path)
        result["reasons"] = _check_interface(runtime, entry)
        if result["reasons"]:
            return result
        outputs = predict(runtime, reference.samples)
        result["latency_ms"] = latency_ms(runtime, reference.samples)
    except Exception as error:  # Every runtime has its own, some of them bare.
        message = str(error).strip() or type(error).__name__
        result["reasons"] = [f"does not run: {message.splitlines()[0]}"]
        return result
    measured, reasons = _measure(outputs, reference, tolerance)
    return {**result, **measured, "reasons": reasons, "ok": not reasons}


def _measure(outputs, reference, tolerance):
    """Returns all that is measured of an artefact's outputs, and what is wrong."""
    measured, reasons = compare(
        outputs,
        reference.outputs,
        tolerance,
        must_agree=reference.metrics is None,
    )
    if measured is NOT_MEASURED:
        return measured, reasons
    values = measure(reference.metrics, outputs, reference.samples.targets)
    if reference.metrics is not None:
        reasons = reasons + compare_metrics(values, reference.values)
    return {**measured, **values}, reasons


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
        f"{spec['name']} {spec['shape']} {spec['dtype']}" for spec in specs
    )
