"""Layers inside layers, the graph of functional models, and masks on tensors."""

from keras.src.backend import get_keras_mask, set_keras_mask


def inner_layers(layer, *, include_self=False, recursive=True):
    """Returns a list of the layers inside a layer or model.

    Args:
        layer: A `keras.Layer`.
        include_self: Whether the layer itself comes first.
        recursive: Whether to look into the layers inside it.
    """
    return layer._flatten_layers(include_self=include_self, recursive=recursive)


def all_layers(layer):
    """Returns a list of a layer and all layers inside it."""
    return inner_layers(layer, include_self=True)


def own_metrics(layer):
    """Returns the metrics in the attributes of a layer itself."""
    return layer._metrics


def operation_of(tensor):
    """Returns the operation that computes a `KerasTensor` of a model's graph."""
    return tensor._keras_history.operation


def index_of_output(tensor):
    """Returns which output of its operation a `KerasTensor` is."""
    return tensor._keras_history.tensor_index


def node_of(tensor):
    """Returns the call that computes a `KerasTensor`: a node with `input_tensors`."""
    operation, index, _ = tensor._keras_history
    return operation._inbound_nodes[index]


def is_keras_layer(cls):
    """Whether a class is one of Keras's own layers."""
    return cls.__module__.startswith("keras.src.layers")


def mask_of(tensor):
    """Returns the mask that Keras has hung on a tensor, or `None`."""
    return get_keras_mask(tensor)


def set_mask(tensor, mask):
    """Hangs a mask on a tensor, for the losses and metrics that take it."""
    set_keras_mask(tensor, mask)
