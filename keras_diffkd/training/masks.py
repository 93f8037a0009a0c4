"""Keeps the padding masks of outputs, which losses and metrics leave out.

Keras attaches a mask to a tensor. The mask is lost when the tensor is copied, as at the
end of a compiled function or in a slice. Such code passes on outputs and masks
together.
"""

import keras

from keras_diffkd.keras_private.layers import mask_of, set_mask


def with_masks(outputs):
    """Returns `(outputs, masks)`: a list with the mask, or `None`, of each output."""
    return outputs, [mask_of(leaf) for leaf in keras.tree.flatten(outputs)]


def masked(outputs, masks):
    """Returns the outputs with the masks from `with_masks` attached again."""
    for leaf, mask in zip(keras.tree.flatten(outputs), masks, strict=True):
        if mask is not None and mask_of(leaf) is None:
            set_mask(leaf, mask)
    return outputs
