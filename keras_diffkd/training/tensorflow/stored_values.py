"""Reads the values of sparse and ragged tensors."""

import tensorflow as tf


def stored_values(tensor):
    """Returns the values that a tensor stores, as a dense tensor.

    Args:
        tensor: Tensor, or a `tf.SparseTensor` or `tf.RaggedTensor`.
    """
    if isinstance(tensor, tf.SparseTensor):
        return tensor.values
    return tensor.flat_values if isinstance(tensor, tf.RaggedTensor) else tensor
