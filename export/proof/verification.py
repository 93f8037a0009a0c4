"""Proof that the artifacts of an export compute what the Keras student computes."""

from pathlib import Path

from keras_diffkd.errors import ManifestError, VerificationError
from keras_diffkd.features.weights_fingerprint import hash_weights

from ..arguments import check_backend
from ..formats import FORMATS
from ..quiet import quiet
from ..records.folder import recover
from ..records.manifest import FILE_NAME, Manifest
from ..records.page import FOLDER as PAGE
from ..records.page import find_page_damage
from ..records.results import Report, Thresholds
from ..serving.detection import is_detector
from ..serving.samples import read_samples
from ..serving.serving import Serving
from .artifact import check_artifact
from .metrics import check_metrics
from .reference import make_reference

# A tenth more than float32: short measurements are off by as much.
MORE = 1.1


def verify(
    output_dir,
    student,
    samples,
    *,
    tolerance=Thresholds.tolerance,
    quantized_tolerance=Thresholds.quantized_tolerance,
    metrics=None,
):
    """Compares every artifact of an export with the Keras student.

    Each artifact must be there with the size and sha256 of the manifest, load in the
    runtime it is meant for (TensorFlow, onnxruntime, LiteRT), have the manifest's
    names, shapes and dtypes, hold the manifest's metadata, need no operation that the
    runtime lacks or only training has, and give outputs that are finite and not all
    the same. A damaged file is not loaded: some runtimes crash on one. A web page
    beside the artifacts must be as it was written.

    The outputs of float32 artifacts may differ from the student's by at most
    `tolerance`. Besides, they must predict the same class on every sample (of
    segmenters and detectors: for all but 0.1% of the pixels or anchors), or, with
    `metrics`, have every metric within 0.001 of the student's. Those of float16 may
    differ by 1% of the largest output. Quantized artifacts are judged by their metrics
    alone, of which more is better: none may be lower than the student's by more than
    `quantized_tolerance` (float16 likewise); without targets 90% of the predictions
    must be the student's.

    Detections after non-maximum suppression are compared in whatever order: all but
    0.1% must be among the student's, with the same class and box and score within
    `tolerance`.

    Args:
        output_dir: folder that `export_student` wrote.
        student: the `keras.Model` that was exported. In half precision it is
            compared as `export_student` exports it, in float32; a RetinaNet with its
            boxes decoded, and suppressed where the export's are.
        samples: what the student takes: float array `(N, ...)`, already normalized,
            or the dictionary or list of arrays of a student with several inputs; or
            a tuple `(inputs, targets)`: integer labels `(N,)`, of segmenters
            `(N, height, width)`, which add the accuracy, or what `metrics` takes.
            None for 64 seeded random inputs. Artifacts of pixels also take uint8
            images; float ones are rounded to the pixels that they were made from.
        tolerance: float. Largest absolute difference allowed, in float32.
        quantized_tolerance: float. By how much a metric of a quantized artifact may be
            lower than the student's.
        metrics: None for the accuracy, or a callable `(outputs, targets) -> dict` of
            floats by name. `outputs` is a dict of arrays by output name for all
            samples; `targets`, an array or structure of arrays with the examples as
            first axis, is what `samples` holds.

    Returns:
        dict with `output_dir`, `tolerance`, `quantized_tolerance`, `batch_size` of the
        export, `num_samples`, `samples`, `metrics` (their names), `failures` (file:
        reasons; empty here), `warnings` (of the whole export), `keras` (`parameters`,
        `latency_ms`, `num_threads` and each metric by its name) and `artifacts`, which
        maps each format to `file`, `size` (bytes), `sha256`, `precision`, `ok`,
        `reasons`, `warnings`, `max_difference`, `mean_difference`, `agreement` (of the
        predictions of class scores, or of detections, 0 to 1), each metric,
        `batch_size` (None: any), `latency_ms` (median of one call, on one example if
        the batch size is any) and its `num_threads`. What was not measured is None.
        `write_verification_report` writes it as `report.json`.

    Raises:
        VerificationError: naming each failed artifact with its reasons; the report is
            the error's `report`.
        ValueError: if student, samples or metrics are not usable.
        ImportError: if a runtime is not installed.

    Example:

    ```python
    report = verify("runs/digits/export", student, (test_images, test_labels))
    print(format_table(report))
    ```
    """
    check_backend()
    thresholds = Thresholds.of(tolerance, quantized_tolerance)
    check_metrics(metrics)
    output_dir = Path(output_dir).resolve()
    recover(output_dir)
    try:
        manifest = Manifest.read(output_dir)
    except ManifestError as error:
        raise VerificationError(
            {"output_dir": str(output_dir), "failures": {FILE_NAME: [str(error)]}}
        ) from error
    serving = _serve(student, manifest)
    samples = read_samples(serving, samples, metrics)
    for name in manifest.artifacts:
        FORMATS[name].require_packages(writing=False)
    reference = make_reference(serving, samples, metrics)
    report = check_artifacts(output_dir, manifest, reference, thresholds)
    report.output_dir = str(output_dir)
    page = output_dir / PAGE
    reasons = find_page_damage(page) if page.exists() else []
    if reasons:
        report.others[PAGE] = reasons
    raise_failures(report)
    return report.to_json()


def _serve(student, manifest):
    """Returns the `Serving` of a student that takes what the artifacts take."""
    # A model from `decoded` suppresses already.
    detection = manifest.detection if is_detector(student) else None
    nms = detection and detection["nms"]
    takes_pixels = (manifest.input or {}).get("normalized_by") == "artifact"
    normalization = manifest.normalization if takes_pixels else None
    serving = Serving(student, nms, normalization, manifest.batch_size)
    serving.take_names(manifest.inputs, manifest.outputs)
    return serving


def check_artifacts(folder, manifest, reference, thresholds):
    """Checks all artifacts; returns a `Report`, also of failures.

    Args:
        folder: `Path` with the artifacts.
        manifest: `Manifest`.
        reference: `Reference` of the student.
        thresholds: `Thresholds`.

    Example:

    ```python
    check_artifacts(folder, Manifest.read(folder), reference, Thresholds()).failures
    ```
    """
    report = Report(
        thresholds=thresholds,
        batch_size=manifest.batch_size,
        num_samples=len(reference.samples),
        samples=reference.samples.origin,
        metrics=reference.values,
        parameters=reference.parameters,
        latency_ms=reference.latency_ms,
        num_threads=reference.num_threads,
    )
    for name in manifest.artifacts:
        with quiet():
            report.artifacts[name] = check_artifact(
                FORMATS[name], folder, manifest, reference, thresholds
            )
    report.warnings = [
        *manifest.warnings,
        *_other_weights(manifest, reference),
        *_gained_nothing(report.artifacts),
    ]
    return report


def _other_weights(manifest, reference):
    expected = (manifest.student or {}).get("weights_sha256")
    if expected in (None, hash_weights(reference.serving.network)):
        return []
    return ["the student's weights are not those that were exported"]


def _gained_nothing(results):
    """Returns warnings of artifacts slower or larger than float32 of their kind."""
    warnings = []
    for name, result in results.items():
        first = FORMATS[name].names["float32"]
        float32 = results.get(first)
        if name == first or float32 is None:
            continue
        if result.size > MORE * float32.size:
            warnings.append(
                f"{result.file} is larger than float32: {result.size:,} bytes "
                f"instead of {float32.size:,}"
            )
        found, expected = result.latency_ms, float32.latency_ms
        if found and expected and found > MORE * expected:
            warnings.append(
                f"{result.file} is slower than float32 here: {found:.3f} ms instead "
                f"of {expected:.3f} ms"
            )
    return warnings


def raise_failures(report, advice=""):
    """Raises `VerificationError` if a `Report` has failures.

    Args:
        report: `Report`.
        advice: str, the end of the message.

    Example:

    ```python
    raise_failures(report)
    ```
    """
    if report.failures:
        raise VerificationError(report.to_json(), advice)
