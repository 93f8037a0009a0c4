"""Checks on the range of images against the normalisation inside the models."""

import keras
import numpy as np

from keras_diffkd.preflight.batches import thinned

# Below the largest value of an image of 0 to 255, above that of normalised ones.
RAW_PIXELS = 32.0
# Images whose range differs by this factor were not normalised alike.
OTHER_RANGE = 16.0
# What a model has in front whose range is not known from outside.
UNKNOWN = "unknown"


def check_scaling(findings, look, teacher, student, has_preprocess):
    """Adds what is suspicious about the range of images.

    Only what the models say themselves is known: a `Rescaling` or `Normalization`
    layer among the first ones promises a range. Models that start otherwise take
    what they were trained with.

    Args:
        findings: `Findings`.
        look: `Look` at the training data.
        teacher: The teacher, or `None`.
        student: The student.
        has_preprocess: Whether the teacher's batch is converted.
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
    """Adds a warning if validation images are scaled unlike the training images."""
    images = [_image(each.x) for each in (look, validation)]
    if any(image is None for image in images):
        return
    train, test = map(_largest, images)
    if min(train, test) > 0 and max(train, test) / min(train, test) > OTHER_RANGE:
        findings.warn(
            "Training and validation images are scaled differently. Received: up to "
            f"{train:g} in training and {test:g} in validation. Give both the same "
            "preprocessing."
        )


def rescaling(model):
    """Returns what a model does to the range of its images, or `None`.

    Args:
        model: `keras.Model`.

    Returns:
        String, `"Rescaling(scale=0.00392, offset=0)"` for example, or `UNKNOWN` for
        a model that may do so in code of its own.
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
    """Whether a layer may bring images to any range: arithmetic, or a user's own."""
    if isinstance(layer, (keras.layers.BatchNormalization, keras.layers.Lambda)):
        return True
    module = type(layer).__module__
    return not module.startswith("keras.src.layers") or "normalization" in module


def _check_range(findings, largest, raw, layer, whose):
    if layer is None and raw:
        findings.warn(
            f"Images reach {largest:g} and the {whose} has no Rescaling or "
            "Normalization layer: raw pixels train badly, and a model trained on "
            "normalised ones does not know them. Divide by 255, or put "
            "`keras.layers.Rescaling(1 / 255)` in front of the model."
        )
    elif layer is not None and layer.startswith("Rescaling") and largest <= 1.0:
        scale = float(layer.partition("scale=")[2].partition(",")[0])
        if scale <= 0.02:
            findings.warn(
                f"Images are at most {largest:g} in absolute value, and the {whose} "
                f"starts with {layer}, which is for 0 to 255: all images come out "
                "almost alike. Give pixels as they are, or drop the layer."
            )


def _largest(image):
    """Returns the largest absolute value, without an array of all of them."""
    image = thinned(image)
    return max(abs(float(image.min())), abs(float(image.max())))


def _image(x):
    """Returns the one image batch of the inputs, or `None`."""
    leaves = [a for a in keras.tree.flatten(x) if a is not None]
    if len(leaves) != 1 or leaves[0].ndim != 4 or leaves[0].shape[-1] not in (1, 3, 4):
        return None
    return leaves[0]


def _leaves(model):
    """Yields what a model runs in order, inside nested models too."""
    for operation in getattr(model, "operations", None) or model.layers:
        if isinstance(operation, keras.Model) and getattr(operation, "inputs", None):
            yield from _leaves(operation)
        else:
            yield operation
