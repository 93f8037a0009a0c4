"""From a trained student to verified artefacts, in one call."""

import json
from pathlib import Path

from keras_diffkd.export import manifest as manifests
from keras_diffkd.export.comparison import NOT_MEASURED
from keras_diffkd.export.detection import describe_detection, is_detector
from keras_diffkd.export.errors import ExportError
from keras_diffkd.export.float32 import check_rebuilt
from keras_diffkd.export.folder import check_target, recover, replacing
from keras_diffkd.export.metrics import check_metrics
from keras_diffkd.export.onnx import OPSETS, write_onnx
from keras_diffkd.export.quiet import quiet
from keras_diffkd.export.reference import make_reference
from keras_diffkd.export.requirements import FORMATS, require_packages
from keras_diffkd.export.runtimes import RUNTIMES
from keras_diffkd.export.samples import read_samples
from keras_diffkd.export.saved_model import write_saved_model
from keras_diffkd.export.serving import Serving
from keras_diffkd.export.tflite import write_tflite
from keras_diffkd.export.verification import (
    TOLERANCE,
    check_artefacts,
    check_tolerance,
    raise_failures,
)
from keras_diffkd.export.web.metadata import FOLDER as PAGE
from keras_diffkd.export.web.metadata import describe_page
from keras_diffkd.export.web.page import write_web_page
from keras_diffkd.export.web.runtime import find_runtime

WRITERS = {
    "saved_model": write_saved_model,
    "onnx": write_onnx,
    "tflite": write_tflite,
}


def export_student(
    student,
    output_dir,
    formats=FORMATS,
    *,
    samples=None,
    opset=17,
    labels=None,
    normalization=None,
    source=None,
    metrics=None,
    nms=None,
    web=None,
    tolerance=TOLERANCE,
):
    """Writes a student in each format, verifies each in its runtime, then publishes.

    Everything is written and verified (see `verify`) in a folder beside `output_dir`,
    which then takes its place as a whole. So an older export stays as it is, bit for
    bit, until the new one is complete; it is replaced with all its formats.

    Of a `keras_hub.models.RetinaNetObjectDetector`, `decoded(student, nms)` is what is
    exported, so that artefacts give boxes relative to the image, and scores.

    Args:
        student: built `keras.Model`, as `Distiller.strip()` returns it: functional,
            sequential, or subclassed and called with one argument. In half
            precision it is rebuilt in float32 first.
        output_dir: folder for `saved_model/`, `student.onnx`, `student.tflite` and
            `manifest.json`: absent, empty, or an export of the same experiment.
        formats: names from "saved_model", "onnx" and "tflite".
        samples: inputs to verify on, or `(inputs, targets)`; see `verify`. None for
            seeded random inputs.
        opset: int. ONNX operator set, 17 or 18.
        labels: list of class names, one per logit (of a detector: per class of
            `cls_logits`), or None.
        normalization: dict or None. How the student's input is made from pixels, such
            as `{"mean": [...], "std": [...], "input_range": [0, 255]}`. Recorded, not
            applied: artefacts take what the student takes.
        source: dict or None. Where the student comes from, for the manifest. Its value
            of `"experiment"` decides what counts as the same experiment.
        metrics: callable `(outputs, targets) -> dict` of floats by name, or None for
            the accuracy; see `verify`.
        nms: dict or None. With it a detector's artefacts do non-maximum suppression;
            see `decoded`. TFLite cannot.
        web: dict or None. With it, `web/` is a page that runs `student.onnx` in the
            browser; `title`, `samples` and `runtime_dir` as in `write_web_page`.
        tolerance: float. Largest absolute difference of an output from the Keras
            student's; large models with large outputs may need more.

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
    formats = _check_formats(formats)
    _check_opset(opset)
    check_metrics(metrics)
    check_tolerance(tolerance)
    normalization = _as_json(normalization, "normalization")
    source = _as_json(source, "source")
    output_dir = Path(output_dir).resolve()
    recover(output_dir)
    check_target(output_dir, source)
    require_packages(formats, writing=True)
    with quiet():
        serving = Serving(student, nms)
    detection = describe_detection(serving.student)
    _check_suppression(detection, formats)
    labels = _check_class_names(labels, serving)
    samples = read_samples(serving, samples, metrics)
    check_rebuilt(student, serving, samples)
    reference = make_reference(serving, samples, metrics)
    manifest = {
        "generator": manifests.GENERATOR,
        "version": manifests.VERSION,
        "student": {
            "name": serving.student.name,
            "parameters": serving.student.count_params(),
            "rebuilt_in_float32": serving.network is not student,
        },
        "inputs": manifests.describe(serving.inputs),
        "outputs": manifests.describe(serving.outputs),
        "normalization": normalization,
        "labels": labels,
        "detection": detection,
        "source": source,
        "versions": manifests.versions(formats),
    }
    web = _prepare_page(web, manifest, formats)
    metadata = {key: manifest[key] for key in ("labels", "normalization", "detection")}
    options = {"onnx": {"opset": opset, "metadata": metadata}}
    with replacing(output_dir) as folder:
        manifest["artefacts"] = {
            name: _write(name, serving, folder, options.get(name, {}))
            for name in formats
        }
        report = check_artefacts(folder, manifest, reference, tolerance)
        raise_failures(output_dir, report)
        _record(report, manifest)
        manifests.write_manifest(folder, manifest)
        if web is not None:
            write_web_page(folder, folder / PAGE, **web)
    return manifest


def _write(name, serving, folder, options):
    """Writes one artefact and returns its entry in the manifest."""
    path = folder / manifests.ARTEFACTS[name]
    try:
        with quiet():
            WRITERS[name](serving, path, **options)
    except Exception as error:  # Converters raise whatever their inside raises.
        message = " ".join(str(error).split())[:600] or type(error).__name__
        raise ExportError(
            f"The student '{serving.student.name}' cannot be written as '{name}'; "
            "choose other `formats`, or replace the operation in the student. "
            f"Received: {message}"
        ) from error
    batch_size = RUNTIMES[name].batch_size
    return manifests.describe_artefact(path, serving, batch_size)


def _record(report, manifest):
    """Adds to the manifest what was found, but for timings of this machine."""
    names = report["metrics"]
    about = ("samples", "num_samples", "tolerance", "metrics")
    manifest["verification"] = {key: report[key] for key in about}
    for name in names:
        manifest["verification"][f"keras_{name}"] = report["keras"][name]
    for name, result in report["artefacts"].items():
        manifest["artefacts"][name]["verification"] = {
            key: result[key] for key in (*NOT_MEASURED, *names)
        }


def _check_formats(formats):
    if isinstance(formats, str):
        raise ValueError(
            f"Expected `formats` to be a list. Received: formats={formats!r}. Pass "
            f"formats={formats.split(',')}"
        )
    formats = list(dict.fromkeys(formats))
    unknown = [name for name in formats if name not in FORMATS]
    if unknown or not formats:
        raise ValueError(
            f"Expected `formats` to hold at least one of {FORMATS} and nothing else. "
            f"Received: formats={formats!r}"
        )
    return formats


def _check_opset(opset):
    if opset not in OPSETS:
        raise ValueError(
            "Expected `opset` to be one that tf2onnx writes and that was tried: "
            f"{' or '.join(map(str, OPSETS))}. Received: opset={opset!r}"
        )


def _as_json(value, name):
    if value is not None and not isinstance(value, dict):
        raise ValueError(f"Expected `{name}` to be a dict or None. Received: {value!r}")
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"`{name}` goes into JSON: use plain numbers, strings, lists and dicts. "
            f"Received: {value!r} ({error})"
        ) from error


def _check_suppression(detection, formats):
    if detection and detection["nms"] and "tflite" in formats:
        others = [name for name in formats if name != "tflite"]
        raise ValueError(
            "The TFLite interpreter has no non-maximum suppression of this kind. "
            "Export 'tflite' without `nms`, into a folder of its own, and suppress "
            "its `boxes` and `scores` in your program; or choose formats of "
            f"{[name for name in FORMATS if name != 'tflite']}. "
            f"Received: formats={[*others, 'tflite']} with nms={detection['nms']}"
        )


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


def _check_class_names(labels, serving):
    if labels is None:
        return None
    labels = list(labels)
    if len(labels) != _count_classes(serving):
        shapes = {spec.name: tuple(spec.shape) for spec in serving.outputs}
        raise ValueError(
            "Expected one label for each logit of the one output, or of `cls_logits`. "
            f"Received: {len(labels)} labels for outputs of shape {shapes}"
        )
    if not all(isinstance(label, str) for label in labels):
        raise ValueError(f"Expected `labels` to be strings. Received: {labels!r}")
    return labels


def _count_classes(serving):
    """Returns the number of classes, or None if the outputs do not tell."""
    # After non-maximum suppression only the detector inside knows.
    for layer in serving.student._flatten_layers():
        if is_detector(layer):
            return layer.num_classes
    sizes = {spec.name: spec.shape[-1] for spec in serving.outputs}
    only = next(iter(sizes.values())) if len(sizes) == 1 else None
    return sizes.get("cls_logits", only)
