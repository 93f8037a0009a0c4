"""Builds a model again with the channels that stay."""

import keras
import numpy as np

from keras_diffkd.keras_private.layers import computes_its_graph, operation_of
from keras_diffkd.pruning.detectors import completed
from keras_diffkd.pruning.labels import axis_of
from keras_diffkd.pruning.nodes import nodes_of
from keras_diffkd.pruning.weights import labeled_weights


def rebuilt(graph, stays):
    """Returns a plain functional or sequential model, with the weights that stay.

    It has the names, settings and nesting of the model. A detector keeps its methods.

    Args:
        graph: `ChannelGraph` of the model.
        stays: Boolean array, which atoms stay.

    Raises:
        ValueError: If a layer cannot be built from its configuration.
    """
    clones = {}

    def clone(layer):
        if id(layer) not in clones:
            inner = graph.opened.get(id(layer))
            if inner is None and computes_its_graph(layer):
                inner = layer
            new = (
                _with_config(layer, graph, stays)
                if inner is None
                else _copy(inner, graph, stays, clone)
            )
            clones[id(layer)] = layer, new, inner is None
        return clones[id(layer)][1]

    model = _copy(graph.model, graph, stays, clone)
    for layer, new, is_leaf in clones.values():
        if is_leaf and isinstance(layer, keras.layers.Layer):
            _inherit(layer, new, graph.changes.get(id(layer)), stays)
    return completed(model, graph.model)


def _copy(model, graph, stays, clone):
    """Returns a model of clones of the layers of a model."""
    values = {
        id(tensor): _input(tensor, labels, stays)
        for tensor, labels in zip(model.inputs, graph.inputs[id(model)], strict=True)
    }
    if isinstance(model, keras.Sequential):
        layers = [*values.values(), *map(clone, model.layers)]
        copy = keras.Sequential(layers, name=model.name)
    else:

        def value(argument):
            is_tensor = isinstance(argument, keras.KerasTensor)
            return values[id(argument)] if is_tensor else argument

        inputs = keras.tree.map_structure(value, model.input)
        for node in nodes_of(model):
            args, kwargs = keras.tree.map_structure(
                value, (node.arguments.args, node.arguments.kwargs)
            )
            outputs = keras.tree.flatten(clone(node.operation)(*args, **kwargs))
            values |= {
                id(old): new
                for old, new in zip(node.output_tensors, outputs, strict=True)
            }
        outputs = keras.tree.map_structure(value, model.output)
        copy = keras.Model(inputs, outputs, name=model.name)
    # Setting it sets every layer's own value: skip that where possible.
    if copy.trainable != model.trainable:
        copy.trainable = model.trainable
    return copy


def _input(tensor, labels, stays):
    """Returns a new input like that of a model, with the channels that stay."""
    shape, axis = list(tensor.shape), axis_of(labels)
    if axis is not None:
        shape[axis] = int(stays[labels].sum())
    layer = operation_of(tensor)
    config = layer.get_config() | {"batch_shape": tuple(shape)}
    return keras.layers.InputLayer.from_config(config).output


def _with_config(layer, graph, stays):
    """Returns a new layer with the configuration of a layer and new widths."""
    if isinstance(layer, keras.layers.Lambda):
        return layer  # It has no weights, and its configuration may lack its function.
    change = graph.changes.get(id(layer))
    try:
        config = layer.get_config()
        for name, value in getattr(change, "config", {}).items():
            config[name] = _resolved(value, stays)
        return type(layer).from_config(config)
    except (NotImplementedError, TypeError, ValueError) as error:
        path = graph.layers[id(layer)][1]
        reason = str(error).strip().splitlines()[-1]
        raise ValueError(
            "Every layer must be one that `from_config` builds from its `get_config`. "
            f"Received: {path!r} ({type(layer).__name__}), which fails: {reason}. "
            "Correct its `get_config`, or build the teacher without this layer"
        ) from error


def _resolved(value, stays):
    if isinstance(value, tuple):
        return tuple(_resolved(part, stays) for part in value)
    return int(stays[value].sum()) if isinstance(value, np.ndarray) else value


def _inherit(layer, new, change, stays):
    """Copies the weights of the channels that stay."""
    pairs = zip(labeled_weights(layer, change), new.weights, strict=True)
    for (weight, axes), target in pairs:
        values = keras.ops.convert_to_numpy(weight.value)
        for axis, atoms in axes.items():
            values = values.take(np.flatnonzero(stays[atoms]), axis)
        target.assign(values)
