"""From a trained student to verified artefacts, in one call."""

from pathlib import Path

from keras_diffkd.features.weights_fingerprint import hash_weights

from . import formats as all_formats
from .arguments import (
    as_json,
    check_batch_size,
    check_class_names,
    check_float64,
    check_suppression,
)
from .errors import ExportError
from .formats.onnx import check_opset
from .formats.requirements import require_packages
from .formats.writers import write_artefact
from .proof.comparison import NOT_MEASURED
from .proof.judgement import (
    QUANTIZED_TOLERANCE,
    TOLERANCE,
    check_tolerance,
)
from .proof.metrics import check_metrics
from .proof.reference import make_reference
from .proof.verification import check_artefacts, raise_failures
from .quiet import quiet
from .records import manifest as manifests
from .records.folder import check_target, recover, replacing
from .records.page import FOLDER as PAGE
from .records.page import describe_page
from .records.report import FILE_NAME as REPORT
from .records.report import write_verification_report
from .serving.calibration import calibration_warnings, read_calibration
from .serving.detection import describe_detection
from .serving.float32 import check_rebuilt
from .serving.pixels import Preprocessing, check_input, describe_input
from .serving.predictions import describe_predictions
from .serving.samples import read_samples
from .serving.serving import Serving
from .serving.sizes import with_sizes
from .web.page import write_web_page
from .web.runtime import find_runtime


def export_student(
    student,
    output_dir,
    formats=all_formats.DEFAULT,
    *,
    quantize=None,
    input="float32",
    samples=None,
    calibration_samples=None,
    opset=17,
    batch_size=None,
    labels=None,
    normalization=None,
    source=None,
    metrics=None,
    nms=None,
    web=None,
    tolerance=TOLERANCE,
    quantized_tolerance=QUANTIZED_TOLERANCE,
):
    """Writes a student in each format, verifies each in its runtime, then publishes.

    Everything is written and verified (see `verify`) in a folder beside `output_dir`,
    which then takes its place as a whole. So an older export stays as it is, bit for
    bit, until the new one is complete; it is replaced with all its formats. If some
    formats fail, the error names all of these and those that passed.

    Of a `keras_hub.models.RetinaNetObjectDetector`, `decoded(student, nms)` is what is
    exported, so that artefacts give boxes relative to the image, and scores.

    Args:
        student: built `keras.Model`, as `Distiller.strip()` returns it: functional,
            sequential, or subclassed and called with one argument. In half
            precision it is rebuilt in float32 first.
        output_dir: folder for `saved_model/`, `student.onnx`, `student.tflite`,
            `manifest.json` and `report.json` (what `verify` found, with timings of this
            machine): absent, empty, or an export of the same experiment.
        formats: names from "saved_model", "onnx", "tflite", "onnx_int8",
            "tflite_float16" and "tflite_dynamic" (half or a quarter of the weights'
            size, computed in float32 or int8), and "tflite_int8" (`student_int8.tflite`
            and so on).
        quantize: "int8" adds "onnx_int8" and "tflite_int8" to those of `formats` of the
            same family. None: nothing.
        input: "float32": artefacts take what the student takes. "uint8": they take raw
            pixels and do what `normalization` says themselves.
        samples: inputs to verify on, or `(inputs, targets)`; see `verify`. None for
            seeded random inputs, unless the student takes inputs of any size. Of such
            a student TFLite files take the size of the samples, the others any, which
            is verified with a second one.
        calibration_samples: inputs (without targets) from which "onnx_int8" and
            "tflite_int8" learn the ranges of activations. None for up to 256 of the
            samples; where these are random the manifest warns of it.
        opset: int. ONNX operator set, 17 or 18.
        batch_size: int, the number of examples that every artefact takes at once, for
            runtimes and accelerators that want all shapes to be known. None: SavedModel
            and ONNX take any number, TFLite files one.
        labels: list of class names, one per logit (of a detector: per class of
            `cls_logits`; of a single unit: one, or those of no and of yes), or None.
        normalization: dict or None. How the student's input is made from pixels, such
            as `{"mean": [...], "std": [...], "input_range": [0, 255]}`:
            `(pixel / 255 - mean) / std`. Recorded, and with input="uint8" applied.
        source: dict or None. Where the student comes from, for the manifest. Its value
            of `"experiment"` decides what counts as the same experiment.
        metrics: callable `(outputs, targets) -> dict` of floats by name, or None for
            the accuracy; see `verify`.
        nms: dict or None. With it a detector's artefacts do non-maximum suppression;
            see `decoded`. TFLite cannot.
        web: dict or None. With it, `web/` is a page that runs `student.onnx` in the
            browser; `title`, `samples` and `runtime_dir` as in `write_web_page`.
        tolerance: float. Largest absolute difference of an output from the Keras
            student's, in float32; large models with large outputs may need more.
        quantized_tolerance: float. By how much a metric of a quantised artefact may be
            lower than the Keras student's.

    Returns:
        dict, the content of `manifest.json`.

    Raises:
        ValueError: if an argument cannot be used, the student has weights or outputs
            that are not finite, or `output_dir` holds anything else.
        ImportError: if a package that a format needs is not installed.
        ExportError: if the student cannot be written in a format; as
            `VerificationError` if an artefact does not compute what the student does.

    Example:

    ```python
    student = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    manifest = export_student(student, "export", ["onnx"], labels=["no", "yes"])
    manifest["artefacts"]["onnx"]["verification"]["agreement"]  # 1.0
    ```
    """
    formats = all_formats.check_formats(formats, quantize)
    check_opset(opset)
    check_batch_size(batch_size)
    check_input(input)
    check_metrics(metrics)
    check_tolerance(tolerance)
    check_tolerance(quantized_tolerance, "quantized_tolerance")
    normalization = as_json(normalization, "normalization")
    if input == "uint8":
        Preprocessing.of(normalization)  # Also where there is none.
    source = as_json(source, "source")
    output_dir = Path(output_dir).resolve()
    recover(output_dir)
    check_target(output_dir, source)
    require_packages(formats, writing=True)
    with quiet():
        in_graph = normalization if input == "uint8" else None
        serving = Serving(student, nms, in_graph, batch_size)
    detection = describe_detection(serving.student)
    check_suppression(detection, formats)
    check_float64(serving, formats)
    labels = check_class_names(labels, serving)
    samples = read_samples(serving, samples, metrics)
    calibration = None
    if all_formats.needs_calibration(formats):
        calibration = read_calibration(serving, calibration_samples, samples)
    check_rebuilt(student, serving, samples)
    reference = make_reference(serving, samples, metrics)
    manifest = {
        "generator": manifests.GENERATOR,
        "version": manifests.VERSION,
        "student": {
            "name": serving.student.name,
            "parameters": serving.student.count_params(),
            "rebuilt_in_float32": serving.network is not student,
            "weights_sha256": hash_weights(serving.network),
        },
        "input": describe_input(serving),
        "batch_size": batch_size,
        "inputs": manifests.describe(serving.inputs, batch_size),
        "outputs": manifests.describe(serving.outputs, batch_size),
        "normalization": normalization,
        "labels": labels,
        "predictions": describe_predictions(detection, reference.predictions),
        "detection": detection,
        "source": source,
        "versions": manifests.versions(formats),
        "warnings": calibration_warnings(calibration) if calibration else [],
    }
    web = _prepare_page(web, manifest, formats)
    with replacing(output_dir) as folder:
        manifest["artefacts"], errors = _write(
            formats,
            serving,
            samples,
            folder,
            manifest,
            opset=opset,
            calibration=calibration,
        )
        report = check_artefacts(
            folder, manifest, reference, tolerance, quantized_tolerance
        )
        _raise_all(output_dir, report, errors)
        write_verification_report(
            folder / REPORT, {"output_dir": str(output_dir), **report}
        )
        _record(report, manifest)
        manifest = manifests.write_manifest(folder, manifest)
        if web is not None:
            write_web_page(folder, folder / PAGE, **web)
    return manifest


def _write(formats, serving, samples, folder, manifest, **options):
    """Returns the entries of all formats that can be written, and other errors."""
    entries, errors = {}, {}
    fixed = None
    for name in formats:
        given = serving
        if all_formats.FORMATS[name].family == "tflite":
            given = fixed = fixed or with_sizes(serving, samples.inputs)
        try:
            entries[name] = write_artefact(name, given, folder, manifest, **options)
        except ExportError as error:
            errors[name] = error
    return entries, errors


def _raise_all(output_dir, report, errors):
    """Raises what is wrong with any format, with those that another call can write."""
    passed = [name for name, result in report["artefacts"].items() if result["ok"]]
    advice = ""
    if passed:
        advice = (
            ". Nothing was put in place; what passed verification can be, with "
            f"formats={passed} (--formats={','.join(passed)})"
        )
    unwritten = "; ".join(map(str, errors.values()))
    if report["failures"] and errors:
        advice = f"; {unwritten}{advice}"
    raise_failures(output_dir, report, advice)
    if errors:
        raise ExportError(f"{unwritten}{advice}") from next(iter(errors.values()))


def _record(report, manifest):
    """Adds to the manifest what was found, but for timings of this machine."""
    names = report["metrics"]
    about = ("samples", "num_samples", "tolerance", "quantized_tolerance", "metrics")
    manifest["verification"] = {key: report[key] for key in about}
    for name in names:
        manifest["verification"][f"keras_{name}"] = report["keras"][name]
    for name, result in report["artefacts"].items():
        manifest["artefacts"][name]["verification"] = {
            key: result[key] for key in (*NOT_MEASURED, *names, "warnings")
        }


def _prepare_page(web, manifest, formats):
    """Finds out what the page needs before anything is written."""
    if web is None:
        return None
    options = ("title", "samples", "runtime_dir")
    if not isinstance(web, dict) or set(web) - set(options):
        raise ValueError(
            f"Expected `web` to be None or a dict with keys of {list(options)}. "
            f"Received: web={web!r}"
        )
    if "onnx" not in formats:
        raise ValueError(
            "The web page runs student.onnx: add 'onnx' to the formats. Received: "
            f"formats={formats} with a web page"
        )
    describe_page(manifest)
    return {**web, "runtime_dir": find_runtime(web.get("runtime_dir"))}
