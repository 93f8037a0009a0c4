"""Checks the arguments of `export_student` before anything is written."""

import json
from collections.abc import Iterable

import keras

from keras_diffkd.keras_private.layers import all_layers
from keras_diffkd.quantization.ranges import QuantizationRanges

from .formats import FORMATS, KINDS
from .serving.detection import is_detector

# tf2onnx refuses later ones; the models of today need nothing of earlier ones.
OPSETS = (17, 18)


def check_formats(formats, quantize=None):
    """Returns the names of the formats, each once, with those that `quantize` adds.

    Args:
        formats: list of names from `FORMATS`.
        quantize: None or "int8".

    Raises:
        ValueError: if a name is unknown, there is none, or `quantize` has nothing
            to add to.

    Example:

    ```python
    check_formats(["onnx"], "int8")  # ["onnx", "onnx_int8"]
    ```
    """
    if isinstance(formats, str):
        raise ValueError(
            f"Expected `formats` to be a list. Received: formats={formats!r}. Pass "
            f"formats={formats.split(',')}"
        )
    if not isinstance(formats, Iterable) or not all(
        isinstance(name, str) for name in formats
    ):
        raise ValueError(
            f"Expected `formats` to be a list of names. Received: formats={formats!r}"
        )
    formats = list(dict.fromkeys(formats))
    unknown = [name for name in formats if name not in FORMATS]
    if unknown or not formats:
        raise ValueError(
            f"Expected `formats` to hold at least one of {tuple(FORMATS)} and nothing "
            f"else. Received: formats={formats!r}"
        )
    return formats if quantize is None else _with_quantized(formats, quantize)


def _with_quantized(formats, quantize):
    if not isinstance(quantize, str) or quantize != "int8":
        raise ValueError(
            "Expected `quantize` to be None or 'int8'. Received: quantize="
            f"{quantize!r}. For other precisions name the format, such as "
            "'tflite_float16'"
        )
    flavors = [FORMATS[name].names for name in formats]
    added = [names[quantize] for names in flavors if quantize in names]
    if not added:
        can = [kind.names["float32"] for kind in KINDS if quantize in kind.names]
        raise ValueError(
            f"quantize={quantize!r} needs {' or '.join(map(repr, can))} among the "
            "`formats`: no other format is quantized. Received: "
            f"formats={formats!r}"
        )
    return list(dict.fromkeys([*formats, *added]))


def needs_calibration(formats):
    """Returns whether one of the formats has quantized activations.

    Example:

    ```python
    needs_calibration(["onnx", "onnx_int8"])  # True
    ```
    """
    return any(FORMATS[name].needs_calibration for name in formats)


def check_ranges(ranges, formats):
    """Raises `ValueError` unless ranges can be used for one of the formats.

    Args:
        ranges: `keras_diffkd.quantization.QuantizationRanges` or None.
        formats: list of names.

    Example:

    ```python
    check_ranges(None, ["onnx"])
    ```
    """
    if ranges is None:
        return
    if not isinstance(ranges, QuantizationRanges):
        raise ValueError(
            "Expected `ranges` to be `QuantizationRanges`, or None to learn them from "
            "samples. `Distiller.quantization_ranges()` returns them, and "
            "`QuantizationRanges.load` reads quantization_ranges.json of a run. "
            f"Received: {ranges!r} of type {type(ranges).__name__}"
        )
    if not needs_calibration(formats):
        raise ValueError(
            "`ranges` are for int8 files: pass quantize='int8', or leave `ranges` out. "
            f"Received: formats={formats!r}"
        )


def as_json(value, name):
    """Converts a dict to plain JSON values; None stays None.

    Raises:
        ValueError: if it is neither, or holds more than JSON can.

    Example:

    ```python
    as_json({"mean": (0.5,)}, "normalization")  # {"mean": [0.5]}
    ```
    """
    if value is not None and not isinstance(value, dict):
        raise ValueError(f"Expected `{name}` to be a dict or None. Received: {value!r}")
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"`{name}` is written as JSON: use numbers, strings, lists and dicts. "
            f"Received: {value!r} ({error})"
        ) from error


def check_backend():
    """Raises `ValueError` unless Keras runs on TensorFlow.

    Example:

    ```python
    check_backend()
    ```
    """
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            "Exports need Keras on TensorFlow. Received: the backend "
            f"{keras.backend.backend()!r}. Save the student (`student.save("
            "'student.keras')`) and export the file: `diffkd-export "
            "--student=student.keras --output_dir=export`, or call `export_student` in "
            "a process with KERAS_BACKEND=tensorflow"
        )


def check_opset(opset):
    """Raises `ValueError` unless an operator set is one that can be written.

    Example:

    ```python
    check_opset(17)
    ```
    """
    if not isinstance(opset, int) or opset not in OPSETS:
        raise ValueError(
            f"`opset` must be {' or '.join(map(str, OPSETS))}, which are tested. "
            f"Received: opset={opset!r}"
        )


def check_batch_size(batch_size):
    """Raises `ValueError` unless artifacts can be made for a batch size.

    Example:

    ```python
    check_batch_size(None)  # Any.
    ```
    """
    if batch_size is None:
        return
    is_integer = isinstance(batch_size, int) and not isinstance(batch_size, bool)
    if not is_integer or batch_size < 1:
        raise ValueError(
            "Expected `batch_size` to be a positive integer, or None for any. "
            f"Received: batch_size={batch_size!r}"
        )


def check_student(serving, formats):
    """Raises `ValueError` if one of the formats cannot compute a student.

    Args:
        serving: `Serving`.
        formats: list of names.

    Example:

    ```python
    check_student(serving, ["onnx"])
    ```
    """
    for name in formats:
        for obstacle in FORMATS[name].find_obstacles(serving):
            raise ValueError(obstacle)


def check_class_names(labels, serving):
    """Returns the labels as a list, or None.

    Raises:
        ValueError: if they are not strings, or not one for each class.

    Example:

    ```python
    check_class_names(("no", "yes"), serving)  # ["no", "yes"]
    ```
    """
    if labels is None:
        return None
    if isinstance(labels, str) or not isinstance(labels, Iterable):
        raise ValueError(
            "Expected `labels` to be a list of strings, one for each class. Received: "
            f"labels={labels!r}"
        )
    labels = list(labels)
    count = _count_classes(serving)
    # Whole numbers are classes themselves. A single unit has one label, its own, or
    # two: no and yes.
    are_scores = all(spec.dtype.is_floating for spec in serving.outputs)
    fits = len(labels) in ((1, 2) if count == 1 else (count,))
    if not fits and are_scores:
        shapes = {spec.name: tuple(spec.shape) for spec in serving.outputs}
        raise ValueError(
            "Expected one label for each class, which is a logit of the student's only "
            "output or of its output `cls_logits`. A single logit takes one label or "
            f"two, for no and yes. Received: {len(labels)} labels for outputs of shape "
            f"{shapes}"
        )
    if not all(isinstance(label, str) for label in labels):
        raise ValueError(f"Expected `labels` to be strings. Received: {labels!r}")
    return labels


def _count_classes(serving):
    """Returns the number of classes, or None if the outputs do not tell."""
    # After non-maximum suppression only the detector inside tells.
    for layer in all_layers(serving.student):
        if is_detector(layer):
            return layer.num_classes
    sizes = {
        spec.name: spec.shape[-1] if spec.shape.rank > 1 else 1
        for spec in serving.outputs
    }
    only = next(iter(sizes.values())) if len(sizes) == 1 else None
    return sizes.get("cls_logits", only)
