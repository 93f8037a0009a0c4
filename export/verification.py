"""Proof that the artefacts of an export compute what the Keras student computes."""

import statistics
import time
from pathlib import Path

import numpy as np

from keras_diffkd.export import comparison
from keras_diffkd.export.errors import ManifestError, VerificationError
from keras_diffkd.export.folder import recover
from keras_diffkd.export.manifest import FILE_NAME, find_damage, read_manifest
from keras_diffkd.export.quiet import quiet
from keras_diffkd.export.requirements import require_packages
from keras_diffkd.export.runtimes import RUNTIMES, KerasRuntime
from keras_diffkd.export.samples import read_samples
from keras_diffkd.export.serving import Serving

TOLERANCE = 1e-4
BATCH_SIZE = 128


def verify(output_dir, student, samples, *, tolerance=TOLERANCE):
    """Compares every artefact of an export with the Keras student.

    Each artefact must be there with the size and sha256 of the manifest, load in the
    runtime it is meant for (TensorFlow, onnxruntime, LiteRT), have the manifest's
    names, shapes and dtypes, and give finite outputs that differ from the student's
    by at most `tolerance` and predict the same class on every sample. A damaged
    file is not loaded: some runtimes crash on one.

    Args:
        output_dir: folder that `export_student` wrote.
        student: the `keras.Model` that was exported. In half precision it is
            compared as `export_student` exports it, in float32.
        samples: what the student takes: float array `(N, ...)`, already normalised,
            or the dictionary or list of arrays of a student with several inputs; or
            a tuple `(inputs, labels)` with integer labels `(N,)`, which adds
            the accuracy. None for 64 seeded standard normal inputs.
        tolerance: float. Largest absolute difference allowed.

    Returns:
        dict with `output_dir`, `tolerance`, `num_samples`, `samples`, `failures`
        (file: reasons; empty here), `keras` (`parameters`, `accuracy`, `latency_ms`)
        and `artefacts`, which maps each format to `file`, `size` (bytes), `ok`,
        `reasons`, `max_difference`, `mean_difference`, `agreement` (of predictions, 0
        to 1), `accuracy`, `latency_ms` (median at batch size 1) and `num_threads` of
        that (None: as TensorFlow is set in this process). What was not measured is
        None.

    Raises:
        VerificationError: naming each failed artefact with its reasons; the report is
            the error's `report`.
        ValueError: if student or samples are not usable.
        ImportError: if a runtime is not installed.

    Example:

    ```python
    report = verify("runs/digits/export", student, (test_images, test_labels))
    print(format_table(report))
    ```
    """
    if not tolerance >= 0:
        raise ValueError(
            f"Expected a tolerance of 0 or more. Received: tolerance={tolerance!r}"
        )
    output_dir = Path(output_dir).resolve()
    serving = Serving(student)
    samples = read_samples(serving, samples)
    recover(output_dir)
    try:
        manifest = read_manifest(output_dir)
    except ManifestError as error:
        raise VerificationError(
            {"output_dir": str(output_dir), "failures": {FILE_NAME: [str(error)]}}
        ) from error
    require_packages(manifest["artefacts"], writing=False)
    report = check_artefacts(output_dir, manifest, serving, samples, tolerance)
    raise_failures(output_dir, report)
    return {"output_dir": str(output_dir), **report}


def check_artefacts(folder, manifest, serving, samples, tolerance):
    """Returns the report of `verify` on what it has read, whatever it says.

    Args:
        folder: `Path` with the artefacts.
        manifest: dict; only its `artefacts` are used.
        serving: `Serving` of the student.
        samples: `Samples`.
        tolerance: float.

    Raises:
        ValueError: if the student's own outputs are not finite, or all the same.

    Example:

    ```python
    check_artefacts(folder, read_manifest(folder), serving, samples, 1e-4)["failures"]
    ```
    """
    keras_runtime = KerasRuntime(serving)
    reference = predict(keras_runtime, samples)
    _check_reference(serving, reference, samples)
    report = {
        "tolerance": tolerance,
        "num_samples": len(samples),
        "samples": samples.origin,
        "keras": {
            "parameters": serving.student.count_params(),
            "accuracy": comparison.accuracy(reference, samples.labels),
            "latency_ms": _latency_ms(keras_runtime, samples),
        },
        "artefacts": {},
    }
    for name, entry in manifest["artefacts"].items():
        with quiet():
            report["artefacts"][name] = _check_artefact(
                name, folder / entry["file"], entry, reference, samples, tolerance
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


def _check_reference(serving, reference, samples):
    bad = [name for name, out in reference.items() if not np.all(np.isfinite(out))]
    if bad:
        raise ValueError(
            f"The student '{serving.student.name}' itself gives NaN or infinity on "
            f"the samples. Received: {', '.join(bad)} not finite"
        )
    inputs_differ = not all(map(comparison.is_constant, samples.inputs.values()))
    if inputs_differ and all(map(comparison.is_constant, reference.values())):
        raise ValueError(
            f"The student '{serving.student.name}' gives the same output for all "
            f"{len(samples)} samples, so comparing with it would prove nothing. Train "
            "it, or pass the `samples` that it was made for, normalised as in training."
        )


def predict(runtime, samples):
    """Returns the outputs for all samples: a dict of arrays by output name.

    Example:

    ```python
    predict(OnnxRuntime("export/student.onnx"), samples)["logits"]
    ```
    """
    batch_size = runtime.batch_size or BATCH_SIZE
    batches = [
        runtime.run(samples.batch(start, start + batch_size))
        for start in range(0, len(samples), batch_size)
    ]
    return {
        name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]
    }


def _check_artefact(name, path, entry, reference, samples, tolerance):
    result = {
        "file": entry["file"],
        "size": entry["size"],
        "ok": False,
        "reasons": find_damage(path, entry),
        **comparison.NOT_MEASURED,
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
        outputs = predict(runtime, samples)
        result["latency_ms"] = _latency_ms(runtime, samples)
    except Exception as error:  # Every runtime has its own, some of them bare.
        message = str(error).strip() or type(error).__name__
        result["reasons"] = [f"does not run: {message.splitlines()[0]}"]
        return result
    measured, result["reasons"] = comparison.compare(
        outputs, reference, samples.labels, tolerance
    )
    return {**result, **measured, "ok": not result["reasons"]}


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


def _latency_ms(runtime, samples):
    """Median time of one example, after warming up; at most about half a second."""
    example = samples.batch(0, 1)
    for _ in range(3):
        runtime.run(example)
    times = []
    started = time.perf_counter()
    while len(times) < 100 and (len(times) < 5 or time.perf_counter() < started + 0.5):
        start = time.perf_counter()
        runtime.run(example)
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times)
