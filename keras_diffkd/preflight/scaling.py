"""Checks on the range of images against the normalisation inside the models."""

import keras
import numpy as np

from keras_diffkd.preflight.batches import thinned

# Below the largest value of an image of 0 to 255, above that of normalised ones.
RAW_PIXELS = 32.0
# Images whose range differs by this factor were not normalised alike.
OTHER_RANGE = 16.0
# How many layers from its input on a model may rescale images in.
NUM_FIRST_LAYERS = 4


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
    _check_range(findings, largest, of_student, "student")
    if teacher is None or has_preprocess:
        return
    of_teacher = rescaling(teacher)
    if bool(of_teacher) != bool(of_student):
        first, second = ("teacher", "student") if of_teacher else ("student", "teacher")
        findings.warn(
            f"The {first} rescales its images ({of_teacher or of_student}) and the "
            f"{second} does not, but both get the same batch. Received: images up to "
            f"{largest:g} in absolute value. If the teacher was trained on another "
            "range, pass `teacher_preprocess` to convert the batch for it."
        )
    else:
        _check_range(findings, largest, of_teacher, "teacher")


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
    """Returns what one of the model's first layers does to the range, or `None`.

    Args:
        model: `keras.Model`.

    Returns:
        String, `"Rescaling(scale=0.00392, offset=0)"` for example.
    """
    layers = [layer for layer in _leaves(model) if not _is_input(layer)]
    for layer in layers[:NUM_FIRST_LAYERS]:
        if isinstance(layer, keras.layers.Rescaling):
            scale, offset = np.mean(layer.scale), np.mean(layer.offset)
            return f"Rescaling(scale={scale:.3g}, offset={offset:.3g})"
        if isinstance(layer, keras.layers.Normalization):
            return "Normalization"
    return None


def _check_range(findings, largest, layer, whose):
    if layer is None and largest >= RAW_PIXELS:
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
    """Yields the layers of a model in order, those inside nested ones too."""
    for layer in model._flatten_layers(include_self=False, recursive=False):
        nested = list(layer._flatten_layers(include_self=False, recursive=False))
        if nested:
            yield from _leaves(layer)
        else:
            yield layer


def _is_input(layer):
    return isinstance(layer, keras.layers.InputLayer)
