"""Walks the graph of a model from a tapped feature back to its inputs."""

import dataclasses

import keras

from keras_diffkd.features.paths import find_layer, split_tap
from keras_diffkd.keras_private.layers import (
    index_of_output,
    node_of,
    operation_of,
)


@dataclasses.dataclass(frozen=True)
class Place:
    """Locates a tensor in the graph of a functional model, which may be nested.

    Attributes:
        tensor: `KerasTensor` in the graph of `model`.
        model: The functional or sequential model whose graph holds the tensor.
        call: Node in which an outer model calls `model`, or `None`.
        outer: `Place` of the first output of that call, or `None`.
    """

    tensor: object
    model: object
    call: object = None
    outer: object = None

    @property
    def key(self):
        return id(self.tensor), id(self.call)


def place_of(model, tap):
    """Finds a tapped feature in the graph of a model.

    Args:
        model: A `keras.Model`.
        tap: `None`, or the name or path of a layer.

    Returns:
        `(place, layer)`. `layer` is the tapped layer (the model if `tap` is `None`).
        `place` is the `Place` of the layer's output. If the layer is not in a graph,
        it is the `Place` of the closest layer around it that is, or `None` if there
        is none, as in a subclassed model.
    """
    path, key = split_tap(tap)
    place, graph, layer = _outputs(model, key), model, model
    names = path.split("/") if path else []
    for depth in range(1, len(names) + 1):
        layer = find_layer(model, "/".join(names[:depth]))
        found = _output_of(layer, graph, place)
        place, graph = found or place, None
        if getattr(layer, "outputs", None):
            call = (node_of(found.tensor), found) if found else ()
            place, graph = _outputs(layer, key, *call), layer
    return place, layer


def producer(place):
    """Returns `(operation, inputs)`: the operation at a place and its input places.

    It follows the graph into models that are called as layers, and out of them.
    """
    while True:
        operation, node = operation_of(place.tensor), node_of(place.tensor)
        if getattr(operation, "outputs", None) and operation is not place.model:
            output = operation.outputs[index_of_output(place.tensor)]
            place = Place(output, operation, node, place)
            continue
        if isinstance(operation, keras.layers.InputLayer) and place.call is not None:
            inner = place.model.inputs
            position = [id(tensor) for tensor in inner].index(id(place.tensor))
            place = dataclasses.replace(
                place.outer, tensor=place.call.input_tensors[position]
            )
            continue
        inputs = [
            dataclasses.replace(place, tensor=tensor) for tensor in node.input_tensors
        ]
        return operation, inputs


def _outputs(model, key, call=None, outer=None):
    outputs = getattr(model, "outputs", None)
    if not outputs:
        return None
    names = list(getattr(model, "output_names", ()))
    index = names.index(key) if key in names else 0
    return Place(outputs[index], model, call, outer)


def _output_of(layer, model, place):
    """Returns the place of the output of `layer` in the graph of `model`, or `None`."""
    if place is None or model is None:
        return None
    tensor = output_in(model, layer)
    return None if tensor is None else dataclasses.replace(place, tensor=tensor)


def output_in(model, layer):
    """Returns the output of `layer` in the graph of this model, or `None`."""
    waiting, seen = list(model.outputs), set()
    while waiting:
        tensor = waiting.pop()
        if operation_of(tensor) is layer:
            return tensor
        if id(tensor) not in seen:
            seen.add(id(tensor))
            waiting += node_of(tensor).input_tensors
    return None
