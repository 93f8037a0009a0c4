"""Masks the positions of class scores that are padding or that the loss ignores."""

import keras

from keras_diffkd.keras_private.layers import mask_of
from keras_diffkd.training.method_targets import compared_outputs


def counted_positions(distiller, method, y, y_pred, feature):
    """Returns the positions at which a method compares class scores.

    Args:
        distiller: The `Distiller`.
        method: One of its methods.
        y: Batch of targets, or `None`.
        y_pred: The student's outputs.
        feature: Feature that the student's tap of the method gives.

    Returns:
        Boolean tensor with the shape of the feature without its class axis, or `None`
        if every position counts. It is also `None` for methods that do not compare
        class scores or do not take a mask.
    """
    shape = getattr(feature, "shape", None)
    if shape is None or not (method.expects_logits and method.takes_mask):
        return None
    masks = []
    padding = mask_of(feature)
    if padding is not None and _are_alike(padding.shape, shape[:-1]):
        masks.append(keras.ops.cast(padding, "bool"))
    # The student can learn the teacher's scores for a sample without a label, except
    # with methods that need the label.
    if y is not None and (len(shape) > 2 or method.needs_targets):
        masks += _labels_that_count(distiller, y, y_pred, feature)
    if not masks:
        return None
    return masks[0] if len(masks) == 1 else keras.ops.logical_and(*masks)


def _labels_that_count(distiller, y, y_pred, feature):
    """Returns `[mask]` with the labels that the loss does not ignore, or `[]`."""
    outputs, is_output = compared_outputs(distiller, y_pred, feature)
    for output in outputs:
        labels = output.of(y)
        if output.ignore_class is None or not hasattr(labels, "shape"):
            continue
        positions = feature.shape[:-1]
        if len(labels.shape) == len(positions) + 1 and labels.shape[-1] == 1:
            labels = keras.ops.squeeze(labels, axis=-1)
        if _are_alike(labels.shape, positions, unknown=is_output):
            labels = keras.ops.cast(labels, "int32")
            return [keras.ops.not_equal(labels, output.ignore_class)]
    return []


def _are_alike(shape, positions, unknown=True):
    """Returns whether a tensor has an entry for every position.

    Args:
        shape: Shape of the tensor.
        positions: Shape of the class scores without the class axis.
        unknown: Boolean, whether an unknown size matches. An unknown batch size always
            does.
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
