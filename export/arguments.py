"""Checks of what `export_student` is given, before anything is written."""

import json
from collections.abc import Iterable

from .formats import FORMATS
from .serving.detection import is_detector


def as_json(value, name):
    """Returns a dict as JSON holds it, or None.

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
            f"`{name}` goes into JSON: use plain numbers, strings, lists and dicts. "
            f"Received: {value!r} ({error})"
        ) from error


def check_batch_size(batch_size):
    """Raises `ValueError` unless artefacts can be made for a batch size.

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


def check_suppression(detection, formats):
    """Raises `ValueError` if a format cannot do non-maximum suppression.

    Args:
        detection: dict of `describe_detection`, or None.
        formats: list of names.

    Example:

    ```python
    check_suppression(None, ["tflite"])
    ```
    """
    cannot = [name for name in formats if FORMATS[name].family == "tflite"]
    if detection and detection["nms"] and cannot:
        can = [name for name in FORMATS if FORMATS[name].family != "tflite"]
        raise ValueError(
            "The TFLite interpreter has no non-maximum suppression of this kind. "
            "Export 'tflite' without `nms`, into a folder of its own, and suppress "
            "its `boxes` and `scores` in your program; or choose formats of "
            f"{can}. Received: formats={list(formats)} with nms={detection['nms']}"
        )


def check_float64(serving, formats):
    """Raises `ValueError` if a student computes in float64 and a format cannot.

    Example:

    ```python
    check_float64(serving, ["onnx"])
    ```
    """
    layers = [
        layer.name
        for layer in serving.student._flatten_layers()
        if layer.weights and layer.compute_dtype == "float64"
    ]
    cannot = [name for name in formats if FORMATS[name].family == "tflite"]
    if layers and cannot:
        raise ValueError(
            "TFLite has no arithmetic in float64. Build the student with the float32 "
            f"policy and copy its weights, or leave {cannot} out of `formats`. "
            f"Received: layers in float64: {', '.join(layers)}"
        )


def check_class_names(labels, serving):
    """Returns the labels as a list, or None.

    Raises:
        ValueError: if they are no strings, or not one for each class.

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
    # Whole numbers are classes themselves. Of one unit either the one that it is for,
    # or no and yes.
    are_scores = all(spec.dtype.is_floating for spec in serving.outputs)
    fits = len(labels) in ((1, 2) if count == 1 else (count,))
    if not fits and are_scores:
        shapes = {spec.name: tuple(spec.shape) for spec in serving.outputs}
        raise ValueError(
            "Expected one label for each logit of the one output, or of `cls_logits`; "
            f"of a single unit, two will do as well. Received: {len(labels)} labels "
            f"for outputs of shape {shapes}"
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
    sizes = {
        spec.name: spec.shape[-1] if spec.shape.rank > 1 else 1
        for spec in serving.outputs
    }
    only = next(iter(sizes.values())) if len(sizes) == 1 else None
    return sizes.get("cls_logits", only)
