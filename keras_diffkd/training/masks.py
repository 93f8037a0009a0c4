"""The masks that outputs carry: padding, for losses and metrics to leave out.

Keras hangs a mask on a tensor. It gets lost where tensors are copied: at the end of a
compiled function, in a slice. What does that passes on a pair of outputs and masks.
"""

import keras
from keras.src.backend import get_keras_mask, set_keras_mask


def with_masks(outputs):
    """Returns `(outputs, masks)`: a list of the outputs' masks, `None` for no mask."""
    return outputs, [get_keras_mask(leaf) for leaf in keras.tree.flatten(outputs)]


def masked(outputs, masks):
    """Returns the outputs with the masks that `with_masks` has found on them."""
    for leaf, mask in zip(keras.tree.flatten(outputs), masks, strict=True):
        if mask is not None and get_keras_mask(leaf) is None:
            set_keras_mask(leaf, mask)
    return outputs
