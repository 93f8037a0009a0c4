"""Writes one artefact, whatever its format, and describes it."""

from ..errors import ExportError
from ..quiet import last_words, quiet
from ..records import manifest as manifests
from ..serving.calibration import describe_calibration
from . import FORMATS
from .metadata import describe_file, embed
from .onnx import write_onnx
from .onnx_int8 import write_onnx_int8
from .runtimes import RUNTIMES
from .saved_model import write_saved_model
from .tflite import describe_quantized, write_tflite

WRITERS = {
    "saved_model": write_saved_model,
    "onnx": write_onnx,
    "onnx_int8": write_onnx_int8,
    "tflite": write_tflite,
    "tflite_float16": write_tflite,
    "tflite_dynamic": write_tflite,
    "tflite_int8": write_tflite,
}
_WEIGHTS = {
    "int8": "int8, one scale per channel",
    # The converter's own threshold.
    "dynamic_int8": "int8, one scale per channel; float32 where under 1,024 values",
}
_ACTIVATIONS = {"onnx_int8": "uint8", "tflite_int8": "int8"}


def write_artefact(name, serving, folder, manifest, *, opset, calibration):
    """Writes one artefact with its metadata.

    Args:
        name: of the format.
        serving: `Serving`.
        folder: `Path`.
        manifest: dict, complete but for the artefacts.
        opset: int, of ONNX files.
        calibration: `Samples` or None, of quantised activations.

    Returns:
        dict, its entry in the manifest.

    Raises:
        ExportError: if the converter cannot.

    Example:

    ```python
    write_artefact("onnx", serving, folder, manifest, opset=17, calibration=None)
    ```
    """
    path = folder / FORMATS[name].file
    with quiet() as held:
        try:
            WRITERS[name](serving, path, **_options(name, opset, calibration))
            embed(FORMATS[name].family, path, describe_file(manifest, name))
            return _describe(name, path, serving, calibration)
        except Exception as error:  # Converters raise whatever their inside raises.
            message = " ".join(str(error).split()) or type(error).__name__
            words = last_words(held())
            if words and words not in message:
                message = f"{message[:600]} It wrote: {words}"
            raise ExportError(
                f"The student '{serving.student.name}' cannot be written as '{name}'; "
                "choose other `formats`, or replace the operation in the student. "
                f"{_advice(message)}Received: {message[:1000]}"
            ) from error


def _advice(message):
    """Returns what helps where the operation is not one that the user knows."""
    if "BitwiseAnd" in message:
        return (
            "`keras.ops.argmax` uses it: leave the argmax to the program that runs the "
            "file, or use `tf.argmax` in a layer of your own. "
        )
    return ""


def _options(name, opset, calibration):
    options = {}
    if FORMATS[name].family == "onnx":
        options["opset"] = opset
    if FORMATS[name].family == "tflite":
        options["precision"] = FORMATS[name].precision
    if FORMATS[name].precision == "int8":
        options["calibration"] = calibration
    return options


def _describe(name, path, serving, calibration):
    kind = FORMATS[name]
    runtime = RUNTIMES[kind.family]
    # Delegates of TFLite files want to know it.
    batch_size = serving.batch_size or (1 if kind.family == "tflite" else None)
    entry = manifests.describe_artefact(path, serving, batch_size, kind.precision)
    if name == "tflite_int8":
        found = runtime(path)
        takes_pixels = serving.preprocessing is not None
        entry["inputs"] = describe_quantized(
            entry["inputs"], found.inputs, takes_pixels
        )
        entry["outputs"] = describe_quantized(entry["outputs"], found.outputs)
    if kind.precision in ("dynamic_int8", "int8"):
        entry["quantization"] = {
            "weights": _WEIGHTS[kind.precision],
            "activations": _ACTIVATIONS.get(name, "float32"),
        }
    if kind.precision == "int8":
        entry["quantization"]["calibration"] = describe_calibration(calibration)
    return entry
