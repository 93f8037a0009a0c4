"""Checks the range of images against the normalization in the models."""

import keras
import numpy as np

from keras_diffkd.keras_private.layers import is_keras_layer
from keras_diffkd.preflight.batches import thinned

# Images that reach this value are raw pixels (0 to 255), not normalized images.
RAW_PIXELS = 32.0
# Images whose ranges differ by this factor were not normalized in the same way.
OTHER_RANGE = 16.0
# Stands for a model whose expected range cannot be read from its layers.
UNKNOWN = "unknown"


def check_scaling(findings, look, teacher, student, has_preprocess):
    """Adds warnings about the range of images.

    A `Rescaling` or `Normalization` layer at the start of a model implies a range.
    The range that other models expect is unknown: it is the one they were trained on.

    Args:
        findings: `Findings`.
        look: `Look` at the training data.
        teacher: The teacher, or `None`.
        student: The student.
        has_preprocess: Boolean, whether the teacher's batch is preprocessed.
    """
    image = _image(look.x)
    if image is None:
        return
    largest = _largest(image)
    of_student = rescaling(student)
    raw = largest >= RAW_PIXELS and float(image.min()) >= 0
    _check_range(findings, largest, raw, of_student, "student")
    if teacher is None or has_preprocess:
        return
    of_teacher = rescaling(teacher)
    if UNKNOWN in (of_teacher, of_student):
        return
    if bool(of_teacher) != bool(of_student) and (raw or of_teacher != "Normalization"):
        first, second = ("teacher", "student") if of_teacher else ("student", "teacher")
        findings.warn(
            f"The {first} rescales its images ({of_teacher or of_student}) and the "
            f"{second} does not, but both get the same batch. Received: images up to "
            f"{largest:g} in absolute value. If the teacher was trained on another "
            "range, pass `teacher_preprocess` to convert the batch for it."
        )
    elif bool(of_teacher) == bool(of_student):
        _check_range(findings, largest, raw, of_teacher, "teacher")


def check_same_range(findings, look, validation):
    """Adds a warning if training and validation images are scaled differently."""
    images = [_image(each.x) for each in (look, validation)]
    if any(image is None for image in images):
        return
    train, test = map(_largest, images)
    if min(train, test) > 0 and max(train, test) / min(train, test) > OTHER_RANGE:
        findings.warn(
            "Training and validation images are scaled differently. Received: up to "
            f"{train:g} in training and {test:g} in validation. Use the same "
            "preprocessing for both."
        )


def rescaling(model):
    """Returns a description of how a model rescales its images, or `None`.

    Args:
        model: `keras.Model`.

    Returns:
        String, `"Rescaling(scale=0.00392, offset=0)"` for example. `UNKNOWN` if the
        model may rescale images in custom code, `None` if it does not rescale them.
    """
    if not getattr(model, "inputs", None):
        return UNKNOWN
    for layer in _leaves(model):
        if isinstance(layer, keras.layers.Rescaling):
            scale, offset = np.mean(layer.scale), np.mean(layer.offset)
            return f"Rescaling(scale={scale:.3g}, offset={offset:.3g})"
        if isinstance(layer, keras.layers.Normalization):
            return "Normalization"
        if _may_rescale(layer):
            return UNKNOWN
        if layer.weights:
            return None
    return None


def _may_rescale(layer):
    """Returns whether a layer may rescale images: arithmetic or a custom layer."""
    if isinstance(layer, (keras.layers.BatchNormalization, keras.layers.Lambda)):
        return True
    cls = type(layer)
    return not is_keras_layer(cls) or "normalization" in cls.__module__


def _check_range(findings, largest, raw, layer, whose):
    if layer is None and raw:
        findings.warn(
            f"Images reach {largest:g} and the {whose} has no Rescaling or "
            "Normalization layer: raw pixels train badly, and a model that was trained "
            "on normalized images needs normalized images. Divide by 255, or put "
            "`keras.layers.Rescaling(1 / 255)` in front of the model."
        )
    elif layer is not None and layer.startswith("Rescaling") and largest <= 1.0:
        scale = float(layer.partition("scale=")[2].partition(",")[0])
        if scale <= 0.02:
            findings.warn(
                f"Images are at most {largest:g} in absolute value, but the {whose} "
                f"starts with {layer}, which expects 0 to 255: it would make all "
                "images almost the same. Pass raw pixels, or remove the layer."
            )


def _largest(image):
    """Returns the largest absolute value without creating an array of them all."""
    image = thinned(image)
    return max(abs(float(image.min())), abs(float(image.max())))


def _image(x):
    """Returns the images if they are the only input, or `None`."""
    leaves = [a for a in keras.tree.flatten(x) if a is not None]
    if len(leaves) != 1 or leaves[0].ndim != 4 or leaves[0].shape[-1] not in (1, 3, 4):
        return None
    return leaves[0]


def _leaves(model):
    """Yields the operations of a model in order, including those of nested models."""
    for operation in getattr(model, "operations", None) or model.layers:
        if isinstance(operation, keras.Model) and getattr(operation, "inputs", None):
            yield from _leaves(operation)
        else:
            yield operation
