"""Checks targets and sample weights against the losses of the task."""

import keras
import numpy as np

from keras_diffkd.preflight.lengths import check_length
from keras_diffkd.preflight.sample_weights import with_weight
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
            check_length(findings, look, y, f"targets{output.title}", what)
            weight = look.sample_weight
            if keras.tree.is_nested(weight):
                weight = output.of(weight)
            _check_output(findings, y, weight, output, what)
    return len(findings.errors) == before


def _check_output(findings, y, weight, output, what):
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
        _check_categorical(findings, y, weight, output, labels)
    elif y.size and output.kind == "binary":
        _check_binary(findings, y, weight, output, labels)


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


def _check_categorical(findings, y, weight, output, labels):
    classes, counted = output.classes, with_weight(y, weight)
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
    elif counted.min(initial=0) < 0:
        findings.error(
            f"{labels} must be probabilities for {output.loss_name!r}. Received: "
            f"values down to {float(counted.min()):g}. Check how they are encoded."
        )
    elif not _sum_to_one(counted[:1024]):
        sums = counted[:1024].sum(-1)
        findings.warn(
            f"{labels} do not sum to 1 in every row. Received: sums from "
            f"{float(sums.min()):g} to {float(sums.max()):g}. For several labels per "
            "sample use binary_crossentropy."
        )


def _sum_to_one(y):
    """Returns whether all rows sum to 1, except rows of zeros, which do not count."""
    sums = y.sum(-1, dtype="float64")
    return np.allclose(sums[sums != 0], 1.0, atol=1e-2)


def _check_binary(findings, y, weight, output, labels):
    expected, counted = tuple(output.spec.shape), with_weight(y, weight)
    shape = (*y.shape, 1) if y.ndim == len(expected) - 1 and expected[-1] == 1 else None
    if y.ndim == len(expected) + 1 and y.shape[-1] == 1:
        shape = y.shape[:-1]
    if not _fits(shape or y.shape, expected):
        findings.error(
            f"{labels} must have the shape {expected} for {output.loss_name!r}. "
            f"Received: {y.shape}. For one class per sample, use "
            "SparseCategoricalCrossentropy."
        )
    elif counted.min(initial=0) < 0 or counted.max(initial=1) > 1:
        findings.error(
            f"{labels} must lie in 0 to 1 for {output.loss_name!r}. Received: from "
            f"{float(counted.min()):g} to {float(counted.max()):g}. For more than two "
            "classes, use SparseCategoricalCrossentropy. Labels whose sample weight is "
            "0 do not count."
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


def _fits(received, expected):
    return len(received) == len(expected) and all(
        None in pair or pair[0] == pair[1]
        for pair in zip(received[1:], expected[1:], strict=True)
    )
