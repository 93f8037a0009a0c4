"""Which positions of class scores count: neither padding nor what the loss ignores."""

import keras

from keras_diffkd.keras_private.layers import mask_of
from keras_diffkd.training.task import task_outputs


def counted_positions(distiller, method, y, y_pred, feature):
    """Returns where a method that compares class scores is to learn.

    Args:
        distiller: The `Distiller`.
        method: One of its methods.
        y: Batch of targets, or `None`.
        y_pred: The student's outputs.
        feature: What the student's tap of the method gave.

    Returns:
        Boolean tensor of the shape of the feature without its classes, or `None` where
        every position counts: also for methods that do not compare class scores, or
        take no mask.
    """
    shape = getattr(feature, "shape", None)
    if shape is None or not (method.expects_logits and method.takes_mask):
        return None
    masks = []
    padding = mask_of(feature)
    if padding is not None and _are_alike(padding.shape, shape[:-1]):
        masks.append(keras.ops.cast(padding, "bool"))
    # The teacher's scores also teach where a whole sample has no label; but not DKD.
    if y is not None and (len(shape) > 2 or method.needs_targets):
        masks += _labelled(distiller, y, y_pred, feature)
    if not masks:
        return None
    return masks[0] if len(masks) == 1 else keras.ops.logical_and(*masks)


def _labelled(distiller, y, y_pred, feature):
    """Returns `[mask]` of the labels that the loss does not ignore, or `[]`."""
    outputs = task_outputs(distiller)
    own = [output for output in outputs if output.of(y_pred) is feature]
    # What is not an output may lie before the only one: logits before a softmax.
    for output in own or (outputs if len(outputs) == 1 else []):
        labels = output.of(y)
        if output.ignore_class is None or not hasattr(labels, "shape"):
            continue
        positions = feature.shape[:-1]
        if len(labels.shape) == len(positions) + 1 and labels.shape[-1] == 1:
            labels = keras.ops.squeeze(labels, axis=-1)
        if _are_alike(labels.shape, positions, unknown=bool(own)):
            labels = keras.ops.cast(labels, "int32")
            return [keras.ops.not_equal(labels, output.ignore_class)]
    return []


def _are_alike(shape, positions, unknown=True):
    """Whether a tensor has an entry for every position.

    Args:
        shape: Shape of the tensor.
        positions: Shape of the class scores without the classes.
        unknown: Whether to believe it of sizes that are not known, the batch's aside.
    """
    if len(shape) != len(positions):
        return False
    for axis, pair in enumerate(zip(shape, positions, strict=True)):
        if None in pair:
            if not unknown and axis > 0:
                return False
        elif pair[0] != pair[1]:
            return False
    return True
