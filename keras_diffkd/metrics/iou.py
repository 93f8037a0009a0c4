"""The mean intersection over union of segmenters."""

import math

import keras
import numpy as np

# Pixels' logits of one chunk of images.
_CHUNK = 2**24


def mean_iou(logits_or_classes, masks, num_classes, ignore_label=None):
    """Computes the mean over the classes of intersection over union.

    All images count together. Classes that occur neither in the predictions nor in the
    masks do not count.

    Args:
        logits_or_classes: Array `(images, height, width, num_classes)` of logits or
            probabilities, or integers `(images, height, width)`.
        masks: Integer array `(images, height, width)`.
        num_classes: Integer.
        ignore_label: Integer label of pixels that do not count, for example 255, or
            `None`.

    Returns:
        Float from 0 to 1.

    Raises:
        ValueError: If the shapes do not match, a class is not below `num_classes`, or
            no pixel counts.

    Example:

    >>> masks = np.array([[[0, 0, 1, 255]]])
    >>> round(mean_iou(np.array([[[0, 1, 1, 1]]]), masks, 3, ignore_label=255), 3)
    0.5

    Source: The Pascal Visual Object Classes Challenge (IJCV 2015, section 4.2.3).
    """
    masks = np.asarray(masks)
    _check_shapes(tuple(np.shape(logits_or_classes)), masks.shape, num_classes)
    counted = np.ones(masks.shape, bool)
    if ignore_label is not None:
        counted = masks != ignore_label
    if not counted.any():
        raise ValueError(
            "No pixel of `masks` counts. Received: masks of shape "
            f"{masks.shape} with only ignore_label={ignore_label}. Evaluate on "
            "images with labels."
        )
    _check_classes("`masks`", masks[counted], num_classes)
    metric = keras.metrics.MeanIoU(num_classes, ignore_class=ignore_label)
    images = max(1, _CHUNK // (math.prod(masks.shape[1:]) * num_classes))
    for start in range(0, len(masks), images):
        chunk = slice(start, start + images)
        predicted = keras.ops.convert_to_numpy(logits_or_classes[chunk])
        if predicted.ndim > masks.ndim:
            predicted = predicted.argmax(axis=-1)
        _check_classes("Predicted classes", predicted[counted[chunk]], num_classes)
        metric.update_state(masks[chunk].astype("int32"), predicted.astype("int32"))
    return float(metric.result())


def _check_shapes(predicted, masks, num_classes):
    if len(masks) < 2 or predicted not in (masks, (*masks, num_classes)):
        raise ValueError(
            "Predictions must have the shape of the masks, (images, height, width), "
            f"or that with logits of {num_classes} classes. Received: predictions "
            f"{predicted}, masks {masks}, num_classes={num_classes}."
        )


def _check_classes(whose, classes, num_classes):
    lowest, highest = classes.min(initial=0), classes.max(initial=0)
    if lowest < 0 or highest >= num_classes:
        raise ValueError(
            f"{whose} must be from 0 to {num_classes - 1}. Received: from {lowest} to "
            f"{highest}. If a label marks pixels that do not count, pass it as "
            "`ignore_label`."
        )
