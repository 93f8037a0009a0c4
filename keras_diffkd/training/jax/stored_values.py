"""Reads the values of sparse arrays."""

from jax.experimental.sparse import JAXSparse


def stored_values(tensor):
    """Returns the values that a tensor stores, as a dense tensor.

    Args:
        tensor: Tensor, or a sparse array.
    """
    return tensor.data if isinstance(tensor, JAXSparse) else tensor
