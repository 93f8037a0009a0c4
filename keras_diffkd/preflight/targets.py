"""Checks targets and sample weights against the losses of the task."""

import keras
import numpy as np

from keras_diffkd.validation.labels import labels_message


def check_targets(findings, look, outputs, what="training data"):
    """Adds problems with the targets.

    Args:
        findings: `Findings`.
        look: `Look` at the data.
        outputs: List of `TaskOutput`s.
        what: String, the name of the data in messages.

    Returns:
        Boolean, whether the targets are usable.
    """
    before = len(findings.errors)
    if outputs and not look.has_targets:
        findings.error(
            f"The {what} has no targets, which the loss {outputs[0].loss_name!r} "
            "needs. Received: y=None. Pass `y`, or a data set of `(x, y)`. To learn "
            "from the teacher alone, pass task_loss_weight=0 to `Distiller`."
        )
        return False
    for output in outputs:
        y = output.of(look.y)
        if not output.is_in(look.y):
            received = sorted(look.y) if isinstance(look.y, dict) else "no such entry"
            findings.error(
                f"The {what} has no targets{output.title}. Received: {received}. Pass "
                "targets with the same structure as the losses in `compile`."
            )
        elif isinstance(y, np.ndarray):
            _check_length(findings, look, y, f"targets{output.title}", what)
            _check_output(findings, y, output, what)
    return len(findings.errors) == before


def _check_length(findings, look, array, name, what):
    count = len(next(a for a in keras.tree.flatten(look.x) if a is not None))
    if array.ndim and len(array) != count:
        findings.error(
            f"Inputs and {name} of the {what} must have the same length. Received: "
            f"{count} and {len(array)}. Check how both are loaded."
        )


def _check_output(findings, y, output, what):
    labels = f"The labels{output.title} of the {what}"
    if y.dtype.kind not in "biuf":
        findings.error(
            f"{labels} must be numbers. Received: dtype {y.dtype}, such as "
            f"{str(y.flat[0])!r}. Number the classes from 0, with "
            "`keras.layers.StringLookup` or `numpy.unique(..., return_inverse=True)`."
        )
    elif y.size and not np.isfinite([y.min(), y.max()]).all():
        findings.error(
            f"{labels} must be finite. Received: {int((~np.isfinite(y)).sum())} values "
            "that are NaN or infinite. Remove those samples."
        )
    elif y.size and output.kind == "sparse":
        _check_sparse(findings, y, output, labels)
    elif y.size and output.kind == "categorical":
        _check_categorical(findings, y, output, labels)
    elif y.size and output.kind == "binary":
        _check_binary(findings, y, output, labels)


def _check_sparse(findings, y, output, labels):
    classes = output.classes
    expected = tuple(output.spec.shape[:-1])
    if classes == 1:
        findings.error(
            f"The loss {output.loss_name!r} needs one output for each class. Received: "
            "a student with 1 output. Give it as many outputs as classes, or use "
            "binary_crossentropy."
        )
        return
    if y.ndim == len(output.spec.shape) and y.shape[-1] == classes:
        findings.error(
            f"{labels} look one-hot, but the loss is {output.loss_name!r}, which takes "
            f"integers of shape {expected}. Received: shape {y.shape}. Use "
            "CategoricalCrossentropy, or `numpy.argmax(y, axis=-1)`."
        )
        return
    shape = y.shape[:-1] if y.ndim > len(expected) and y.shape[-1] == 1 else y.shape
    if not _fits(shape, expected):
        findings.error(
            f"{labels} must have the shape {expected}. Received: {y.shape}. Pass one "
            "integer for each prediction of the student."
        )
        return
    if y.dtype.kind == "f":
        if not np.array_equal(y, np.round(y)):
            findings.error(
                f"{labels} must be integers for {output.loss_name!r}. Received: "
                f"{y.dtype} with fractions, such as {float(y[y != np.round(y)][0]):g}. "
                "Number the classes from 0, or use a loss for real numbers."
            )
            return
        findings.warn(
            f"{labels} are {y.dtype}. They are whole numbers and are used as class "
            'numbers, but integers are safer: `y.astype("int32")`.'
        )
    _check_range(findings, y, output)


def _check_range(findings, y, output):
    classes = output.classes
    counted = y if output.ignore_class is None else y[y != output.ignore_class]
    if classes is None or not counted.size:
        return
    low, high = int(counted.min()), int(counted.max())
    if low >= 0 and high < classes:
        return
    message = labels_message(classes, f"{low} to {high}")
    if low == 1 and high == classes:
        message += " They start at 1: subtract 1."
    elif low == -1 and high < classes:
        message += (
            " If -1 marks samples without a label, remove those samples or pass "
            "ignore_class=-1 to the loss."
        )
    elif high == 255 and counted[counted != 255].max(initial=0) < classes:
        message += (
            " If 255 marks pixels without a class, pass ignore_class=255 to the loss."
        )
    findings.error(message)


def _check_categorical(findings, y, output, labels):
    classes = output.classes
    if y.ndim < len(output.spec.shape) or (y.shape[-1] == 1 and classes != 1):
        findings.error(
            f"{labels} must be probabilities of shape {tuple(output.spec.shape)} for "
            f"{output.loss_name!r}. Received: {y.shape}. For integers use "
            "SparseCategoricalCrossentropy, or convert them with "
            "`keras.utils.to_categorical`."
        )
    elif not _fits(y.shape, tuple(output.spec.shape)):
        findings.error(
            f"{labels} must have the shape {tuple(output.spec.shape)}: the student has "
            f"{classes} classes. Received: {y.shape}. Check the number of classes."
        )
    elif y.min() < 0:
        findings.error(
            f"{labels} must be probabilities for {output.loss_name!r}. Received: "
            f"values down to {float(y.min()):g}. Check how they are encoded."
        )
    elif not _sum_to_one(y[:1024]):
        sums = y[:1024].sum(-1)
        findings.warn(
            f"{labels} do not sum to 1 in every row. Received: sums from "
            f"{float(sums.min()):g} to {float(sums.max()):g}. For several labels per "
            "sample use binary_crossentropy."
        )


def _sum_to_one(y):
    """Returns whether all rows sum to 1, except rows of zeros, which do not count."""
    sums = y.sum(-1, dtype="float64")
    return np.allclose(sums[sums != 0], 1.0, atol=1e-2)


def _check_binary(findings, y, output, labels):
    expected = tuple(output.spec.shape)
    shape = (*y.shape, 1) if y.ndim == len(expected) - 1 and expected[-1] == 1 else None
    if y.ndim == len(expected) + 1 and y.shape[-1] == 1:
        shape = y.shape[:-1]
    if not _fits(shape or y.shape, expected):
        findings.error(
            f"{labels} must have the shape {expected} for {output.loss_name!r}. "
            f"Received: {y.shape}. For one class per sample, use "
            "SparseCategoricalCrossentropy."
        )
    elif y.min() < 0 or y.max() > 1:
        findings.error(
            f"{labels} must lie in 0 to 1 for {output.loss_name!r}. Received: from "
            f"{float(y.min()):g} to {float(y.max()):g}. For more than two classes, use "
            "SparseCategoricalCrossentropy."
        )


def check_spread(findings, look, outputs):
    """Adds a warning if several batches in a row have only one class.

    Args:
        findings: `Findings`.
        look: `Look` at the training data.
        outputs: List of `TaskOutput`s.
    """
    for output in outputs:
        y = output.of(look.y)
        if output.kind not in ("sparse", "categorical") or not isinstance(
            y, np.ndarray
        ):
            continue
        labels = y.argmax(-1) if output.kind == "categorical" else y
        # The labels of a few batches, because one small batch is not enough.
        seen = labels[: 3 * look.batch_size] if look.in_order else labels
        if output.ignore_class is not None:
            seen = seen[seen != output.ignore_class]
        if not seen.size or _is_likely(labels, seen):
            continue
        if len(seen) > max(look.batch_size, 8) and np.all(seen == seen.flat[0]):
            findings.warn(
                f"The first {len(seen)} labels{output.title} are all "
                f"{seen.flat[0]:g}. Batches of one class train badly, and their batch "
                "normalization statistics are wrong. Shuffle the data over all classes."
            )


def _is_likely(labels, seen):
    """Returns whether shuffled labels may start this way: one class dominates."""
    share = np.mean(labels == seen.flat[0])
    return share < 1 and share**seen.size > 0.01


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
    _check_length(findings, look, weight, "sample weights", "training data")
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


def _fits(received, expected):
    return len(received) == len(expected) and all(
        None in pair or pair[0] == pair[1]
        for pair in zip(received[1:], expected[1:], strict=True)
    )
