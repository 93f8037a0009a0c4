"""The masks that outputs carry: padding, for losses and metrics to leave out.

Keras hangs a mask on a tensor. It gets lost where tensors are copied: at the end of a
compiled function, in a slice. What does that passes on a pair of outputs and masks.
"""

import keras

from keras_diffkd.keras_private.layers import mask_of, set_mask


def with_masks(outputs):
    """Returns `(outputs, masks)`: a list of the outputs' masks, `None` for no mask."""
    return outputs, [mask_of(leaf) for leaf in keras.tree.flatten(outputs)]


def masked(outputs, masks):
    """Returns the outputs with the masks that `with_masks` has found on them."""
    for leaf, mask in zip(keras.tree.flatten(outputs), masks, strict=True):
        if mask is not None and mask_of(leaf) is None:
            set_mask(leaf, mask)
    return outputs
