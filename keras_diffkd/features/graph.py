"""Walking from a tapped feature back to what it was computed from."""

import dataclasses

import keras

from keras_diffkd.features.paths import find_layer, split_tap


@dataclasses.dataclass(frozen=True)
class Place:
    """A tensor in the graph of a functional model, which may lie inside another.

    Attributes:
        tensor: `KerasTensor` of the graph of `model`.
        model: The functional or sequential model whose graph it belongs to.
        call: Node in which an outer model calls `model`, or `None`.
        outer: `Place` of that call's first output, or `None`.
    """

    tensor: object
    model: object
    call: object = None
    outer: object = None

    @property
    def key(self):
        return id(self.tensor), id(self.call)


def place_of(model, tap):
    """Returns where a tapped feature is in a model's graph.

    Args:
        model: A `keras.Model`.
        tap: `None`, or the name or path of a layer.

    Returns:
        `(place, layer)`. `layer` is the tapped layer (the model for `None`). `place`
        is that of the layer's output, or of the closest layer around it that the graph
        knows; `None` if no graph knows any, as in a subclassed model.
    """
    path, key = split_tap(tap)
    place, graph, layer = _outputs(model, key), model, model
    names = path.split("/") if path else []
    for depth in range(1, len(names) + 1):
        layer = find_layer(model, "/".join(names[:depth]))
        found = _output_of(layer, graph, place)
        place, graph = found or place, None
        if getattr(layer, "outputs", None):
            call = (_node(found), found) if found else ()
            place, graph = _outputs(layer, key, *call), layer
    return place, layer


def producer(place):
    """Returns `(operation, inputs)`: what computes a tensor, and from which places.

    Steps into models that are called as layers, and out of them again.
    """
    while True:
        operation, _, index = place.tensor._keras_history
        if getattr(operation, "outputs", None) and operation is not place.model:
            place = Place(operation.outputs[index], operation, _node(place), place)
            continue
        if isinstance(operation, keras.layers.InputLayer) and place.call is not None:
            inner = place.model.inputs
            position = [id(tensor) for tensor in inner].index(id(place.tensor))
            place = dataclasses.replace(
                place.outer, tensor=place.call.input_tensors[position]
            )
            continue
        inputs = [
            dataclasses.replace(place, tensor=tensor)
            for tensor in _node(place).input_tensors
        ]
        return operation, inputs


def _node(place):
    operation, index, _ = place.tensor._keras_history
    return operation._inbound_nodes[index]


def _outputs(model, key, call=None, outer=None):
    outputs = getattr(model, "outputs", None)
    if not outputs:
        return None
    names = list(getattr(model, "output_names", ()))
    index = names.index(key) if key in names else 0
    return Place(outputs[index], model, call, outer)


def _output_of(layer, model, place):
    """Returns the place of what `layer` gives in the graph of `model`, or `None`."""
    if place is None or model is None:
        return None
    waiting, seen = list(model.outputs), set()
    while waiting:
        tensor = waiting.pop()
        operation, index, _ = tensor._keras_history
        if operation is layer:
            return dataclasses.replace(place, tensor=tensor)
        if id(tensor) not in seen:
            seen.add(id(tensor))
            waiting += operation._inbound_nodes[index].input_tensors
    return None
