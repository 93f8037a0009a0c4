"""Checks `sample_weight` and `class_weight`, and finds what has no weight."""

import keras
import numpy as np

from keras_diffkd.preflight.lengths import check_length


def with_weight(y, weight):
    """Returns the targets without those of weight 0, which do not affect the loss.

    Args:
        y: NumPy array of targets.
        weight: NumPy array of their sample weights, or `None`.

    Returns:
        `y` itself, or an array with the first axes of `y` flattened into one.
    """
    if not isinstance(weight, np.ndarray):
        return y
    if weight.shape[-1:] == (1,) and weight.ndim > 1:
        weight = weight[..., 0]
    if y.shape[: weight.ndim] != weight.shape or not weight.ndim:
        return y
    return y[weight != 0]


def check_weights(findings, look, class_weight, outputs):
    """Adds problems with `sample_weight` and `class_weight`.

    Args:
        findings: `Findings`.
        look: `Look` at the training data.
        class_weight: Argument of `fit`.
        outputs: List of `TaskOutput`s.
    """
    for weight in keras.tree.flatten(look.sample_weight):
        if weight is not None:
            _check_sample_weight(findings, look, weight)
    if class_weight is None:
        return
    values = list(class_weight.values()) if isinstance(class_weight, dict) else None
    if values is None or not all(map(_is_weight, values)):
        findings.error(
            "`class_weight` must be a dict from class to a finite number of at least "
            f"0. Received: {class_weight!r}"
        )
        return
    classes = outputs[0].label_classes if len(outputs) == 1 else None
    unknown = sorted(
        label for label in class_weight if classes and not 0 <= label < classes
    )
    if unknown:
        findings.error(
            f"`class_weight` must name classes 0 to {classes - 1}. Received: "
            f"{unknown}. Number the classes from 0."
        )


def _is_weight(value):
    return np.isscalar(value) and np.isfinite(value) and value >= 0


def _check_sample_weight(findings, look, weight):
    before = len(findings.errors)
    check_length(findings, look, weight, "sample weights", "training data")
    if len(findings.errors) > before:
        return
    targets = [y.ndim for y in keras.tree.flatten(look.y) if y is not None]
    if weight.ndim == 0 or weight.ndim > max([2, *targets]):
        findings.error(
            "`sample_weight` must have one number for each sample: shape (batch,). "
            f"Received: shape {weight.shape}."
        )
    elif weight.dtype.kind not in "biuf":
        findings.error(
            f"`sample_weight` must hold numbers. Received: dtype {weight.dtype}."
        )
    elif not np.isfinite(weight).all():
        findings.error(
            "`sample_weight` must be finite. Received: "
            f"{int((~np.isfinite(weight)).sum())} values that are NaN or infinite. "
            "Remove those samples."
        )
    elif weight.min() < 0:
        findings.error(
            "`sample_weight` must be at least 0: a negative weight trains the student "
            f"away from the labels. Received: values down to {float(weight.min()):g}."
        )
    elif not weight.any():
        findings.warn(
            "`sample_weight` is 0 for all samples: the labels have no effect. "
            f"Received: {len(weight)} zeros. Remove the argument, or give some samples "
            "a positive weight."
        )
