"""Stands in for the functions of backends with sparse tensors: Keras has none here."""


def stored_values(tensor):
    """Returns the tensor."""
    return tensor
