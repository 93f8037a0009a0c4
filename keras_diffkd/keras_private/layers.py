"""Accesses nested layers, the graph of functional models, and masks of tensors."""

import keras
from keras.src.backend import get_keras_mask, set_keras_mask
from keras.src.models.functional import Functional


def inner_layers(layer, *, include_self=False, recursive=True):
    """Returns a list of the layers inside a layer or model.

    Args:
        layer: A `keras.Layer`.
        include_self: Boolean, whether to include the layer itself, as the first one.
        recursive: Boolean, whether to include layers nested in these layers.
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
    """Returns the index of a `KerasTensor` among the outputs of its operation."""
    return tensor._keras_history.tensor_index


def node_of(tensor):
    """Returns the call that computes a `KerasTensor`: a node with `input_tensors`."""
    operation, index, _ = tensor._keras_history
    return operation._inbound_nodes[index]


def is_keras_layer(cls):
    """Returns whether a class is one of Keras's own layers."""
    return cls.__module__.startswith("keras.src.layers")


def is_keras_operation(cls):
    """Returns whether a class is one of the operations behind `keras.ops`."""
    return cls.__module__.startswith(("keras.src.ops.", "keras.src.activations."))


def is_application_layer(cls):
    """Returns whether a model of `keras.applications` defines a class of layers."""
    return cls.__module__.startswith("keras.src.applications.")


def computes_its_graph(model):
    """Returns whether calling a model does what the graph of its layers says.

    It is so for functional and sequential models, also of subclasses that do not define
    `call`.
    """
    if isinstance(model, keras.Sequential):
        return type(model).call is keras.Sequential.call and bool(model.built)
    return isinstance(model, Functional) and type(model).call is Functional.call


def mask_of(tensor):
    """Returns the mask that Keras attached to a tensor, or `None`."""
    return get_keras_mask(tensor)


def set_mask(tensor, mask):
    """Attaches a mask to a tensor, for losses and metrics that use it."""
    set_keras_mask(tensor, mask)
