"""Turns layers that are made of other layers into functional models."""

import keras

from keras_diffkd.keras_private.layers import inner_layers, is_keras_layer
from keras_diffkd.pruning.nodes import nodes_of
from keras_diffkd.pruning.patches import is_vit_patches, patches_and_positions


def opened(layer, nodes):
    """Returns a functional model of the layers inside a layer, or `None`.

    The model shares these layers. There is none if the layer has weights of its own, or
    does what a functional model cannot, or is one of Keras's own. Of a ViT's first
    layer the model has a copy of the positions.

    Args:
        layer: `keras.Layer`.
        nodes: List of the calls of the layer in a graph. All must be like
            `layer(inputs)`; `inputs` may be a dictionary or a list.
    """
    is_layer = isinstance(layer, keras.layers.Layer)
    if not is_layer or is_keras_layer(type(layer)) or not inner_layers(layer):
        return None
    calls = [node.arguments for node in nodes]
    if any(len(call.args) != 1 or call.kwargs for call in calls):
        return None
    try:
        inputs = _inputs([call.args[0] for call in calls])
        if is_vit_patches(layer):
            return keras.Model(
                inputs, patches_and_positions(layer, inputs), name=layer.name
            )
        model = keras.Model(inputs, layer.call(inputs), name=layer.name)
    # The code of the layer may do anything.
    except Exception:
        return None
    inside = {
        id(weight)
        for node in nodes_of(model)
        for weight in getattr(node.operation, "weights", ())
    }
    return model if inside.issuperset(map(id, layer.weights)) else None


def _inputs(structures):
    """Returns inputs for all these calls: sizes that differ are unknown."""
    names = {
        id(tensor): "_".join(map(str, path)) or None
        for path, tensor in keras.tree.flatten_with_path(structures[0])
    }

    def make(first, *others):
        shape = [
            size if all(other.shape[axis] == size for other in others) else None
            for axis, size in enumerate(first.shape)
        ]
        name = names[id(first)]
        return keras.Input(batch_shape=shape, dtype=first.dtype, name=name)

    return keras.tree.map_structure(make, *structures)
