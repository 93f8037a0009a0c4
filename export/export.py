"""From a trained student to verified artifacts, in one call."""

from pathlib import Path

from keras_diffkd.errors import ExportError

from .arguments import (
    as_json,
    check_backend,
    check_batch_size,
    check_class_names,
    check_formats,
    check_opset,
    check_ranges,
    check_student,
    needs_calibration,
)
from .formats import DEFAULT, FORMATS
from .proof.metrics import check_metrics
from .proof.reference import make_reference
from .proof.verification import check_artifacts, raise_failures
from .quiet import quiet
from .records.folder import check_target, only_writer, recover, replacing
from .records.kept import copy_kept, find_kept
from .records.manifest import Manifest, write_manifest
from .records.page import FOLDER as PAGE
from .records.report import FILE_NAME as REPORT
from .records.report import write_verification_report
from .records.results import Thresholds
from .serving.calibration import read_calibration, read_calibration_samples
from .serving.float32 import check_rebuilt
from .serving.pixels import Preprocessing, check_input
from .serving.samples import read_samples
from .serving.serving import Serving
from .serving.simulated import simulated
from .web.page import prepare_page, write_web_page
from .writing import write_artifacts


def export_student(
    student,
    output_dir,
    formats=DEFAULT,
    *,
    quantize=None,
    ranges=None,
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
    replace=False,
    tolerance=Thresholds.tolerance,
    quantized_tolerance=Thresholds.quantized_tolerance,
):
    """Writes a student in each format, verifies each in its runtime, then publishes.

    Everything is written and verified (see `verify`) in a folder beside `output_dir`,
    which then takes its place as a whole. So an older export stays as it is, bit for
    bit, until the new one is complete. Formats of an older export of the same student
    with the same settings stay: they are verified again with the new ones. If some
    formats fail, the error names all of these and those that passed.

    Of a `keras_hub.models.RetinaNetObjectDetector`, `decoded(student, nms)` is what is
    exported, so that artifacts give boxes relative to the image, and scores.

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
        ranges: `keras_diffkd.quantization.QuantizationRanges` that the student learned
            with `quantization=QuantizationAware(...)`: "onnx_int8" and "tflite_int8"
            compute what was simulated then. None: they learn ranges from samples.
        input: "float32": artifacts take what the student takes. "uint8": they take raw
            pixels and do what `normalization` says themselves.
        samples: inputs to verify on, or `(inputs, targets)`; see `verify`. None for the
            calibration samples, or else seeded random inputs, unless the student takes
            inputs of any size. Of such a student TFLite files take the size of the
            samples, the others any, which is verified with a second one.
        calibration_samples: inputs (without targets) from which "onnx_int8" and
            "tflite_int8" learn the ranges of activations without `ranges`. None for up
            to 256 of the samples; where these are random the manifest warns of it.
        opset: int. ONNX operator set, 17 or 18.
        batch_size: int, the number of examples that every artifact takes at once, for
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
        nms: dict or None. With it a detector's artifacts do non-maximum suppression;
            see `decoded`. TFLite cannot.
        web: dict or None. With it, `web/` is a page that runs `student.onnx` in the
            browser; `title`, `samples`, `drawing` and `runtime_dir` as in
            `write_web_page`.
        replace: bool. Whether to remove the formats, and the web page, of an older
            export that this one does not write, also those of another experiment.
        tolerance: float. Largest absolute difference of an output from the Keras
            student's, in float32; large models with large outputs may need more.
        quantized_tolerance: float. By how much a metric of a quantized artifact may be
            lower than the Keras student's.

    Returns:
        dict, the content of `manifest.json`.

    Raises:
        ValueError: if an argument cannot be used, `ranges` are of another student, the
            student has weights or outputs that are not finite, another process exports
            into `output_dir`, or it holds anything else, or formats of another student
            and not `replace`.
        ImportError: if a package that a format needs is not installed.
        ExportError: if the student cannot be written in a format; as
            `VerificationError` if an artifact does not compute what the student does.

    Example:

    ```python
    student = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    manifest = export_student(student, "export", ["onnx"], labels=["no", "yes"])
    manifest["artifacts"]["onnx"]["verification"]["agreement"]  # 1.0
    ```
    """
    formats = check_formats(formats, quantize)
    check_ranges(ranges, formats)
    check_opset(opset)
    check_batch_size(batch_size)
    check_input(input)
    check_metrics(metrics)
    check_backend()
    thresholds = Thresholds.of(tolerance, quantized_tolerance)
    normalization = as_json(normalization, "normalization")
    source = as_json(source, "source")
    takes_pixels = input == "uint8"
    if takes_pixels:
        Preprocessing.of(normalization)  # Also where there is none.
    output_dir = Path(output_dir).resolve()
    with only_writer(output_dir):
        recover(output_dir)
        check_target(output_dir, source, replace)
        for name in formats:
            FORMATS[name].require_packages(writing=True)
        with quiet():
            in_graph = normalization if takes_pixels else None
            serving = Serving(student, nms, in_graph, batch_size)
        check_student(serving, formats)
        quantized = None if ranges is None else simulated(serving, ranges)
        labels = check_class_names(labels, serving)
        if samples is None and metrics is None and calibration_samples is not None:
            samples = read_calibration_samples(serving, calibration_samples)
        else:
            samples = read_samples(serving, samples, metrics)
        calibration = None
        if ranges is None and needs_calibration(formats):
            calibration = read_calibration(serving, calibration_samples, samples)
        check_rebuilt(student, serving, samples)
        reference = make_reference(serving, samples, metrics)
        given = {"normalization": normalization, "labels": labels, "source": source}
        manifest = Manifest.of(
            serving, reference.predictions, formats, calibration, **given
        )
        kept = ({}, False)
        if not replace:
            kept = find_kept(output_dir, manifest, formats, with_page=web is not None)
        if web is not None:
            web = prepare_page(web, manifest, [*formats, *kept[0]])
        # In float32, the largest of all.
        needed = 4 * serving.student.count_params() * len(formats)
        with replacing(output_dir, needed) as folder:
            errors = write_artifacts(
                formats,
                reference,
                folder,
                manifest,
                opset=opset,
                calibration=calibration,
                quantized=quantized,
                ranges=ranges,
            )
            copy_kept(output_dir, folder, *kept)
            manifest.keep(kept[0])
            report = check_artifacts(folder, manifest, reference, thresholds)
            report.output_dir = str(output_dir)
            _raise_all(report, errors)
            write_verification_report(folder / REPORT, report.to_json())
            manifest.record(report)
            content = write_manifest(folder, manifest.to_json())
            if web is not None:
                write_web_page(folder, folder / PAGE, **web)
    return content


def _raise_all(report, errors):
    """Raises the failures of all formats, and names the formats that would pass."""
    passed = report.passed
    advice = ""
    if passed:
        advice = (
            ". Nothing was written. To write only what passed, pass "
            f"formats={passed} (--formats={','.join(passed)})"
        )
    unwritten = "; ".join(map(str, errors.values()))
    if report.failures and errors:
        advice = f"; {unwritten}{advice}"
    raise_failures(report, advice)
    if errors:
        raise ExportError(f"{unwritten}{advice}") from next(iter(errors.values()))
