"""Distances between two features."""

import keras

from keras_diffkd import losses
from keras_diffkd.validation.arguments import check_number

# Distances between class scores, whose last axis is the classes.
OF_LOGITS = ("kl", "dist", "dkd")


def check_distance(distance, temperature, standardize_logits=False):
    """Raises `ValueError` unless `distance_between` accepts these."""
    is_name = isinstance(distance, str) and distance in ("mse", *OF_LOGITS)
    if not callable(distance) and not is_name:
        raise ValueError(
            '`distance` must be "mse", "kl", "dist", "dkd", a `keras.losses.Loss` or a '
            f"callable `(teacher, student) -> scalar`. Received: distance={distance!r}"
        )
    check_number("temperature", temperature, above=0)
    if standardize_logits and not (is_name and distance in OF_LOGITS):
        raise ValueError(
            '`standardize_logits=True` needs a distance of logits: distance="kl", '
            f'"dist" or "dkd". Received: distance={distance!r}, standardize_logits=True'
        )


def distance_between(
    distance,
    teacher,
    student,
    *,
    targets,
    temperature,
    standardize_logits=False,
    mask=None,
):
    """Returns the distance of two features as a float32 scalar.

    Args:
        distance: `"mse"`, `"kl"`, `"dist"`, `"dkd"`, a `keras.losses.Loss`, or a
            callable `(teacher, student) -> tensor`.
        teacher: float32 tensor, the target.
        student: float32 tensor of the same shape.
        targets: Class labels, integers or one-hot, for `"dkd"`.
        temperature: Positive float, for the distances of logits.
        standardize_logits: Whether the distances of logits standardize them first.
        mask: Optional mask of the positions that count, for the distances of logits.
    """
    if callable(distance):
        return keras.ops.mean(keras.ops.cast(distance(teacher, student), "float32"))
    if distance == "mse":
        return losses.mean_squared_error(teacher, student)
    settings = {
        "temperature": temperature,
        "mask": mask,
        "standardize_logits": standardize_logits,
    }
    if distance == "kl":
        return losses.kl_divergence(teacher, student, **settings)
    if distance == "dist":
        return losses.dist(teacher, student, **settings)
    return losses.dkd(teacher, student, targets, **settings)
