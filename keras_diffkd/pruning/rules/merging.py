"""Rules for layers and operations that combine several tensors."""

import keras
import numpy as np

from keras_diffkd.pruning.labels import axis_of, compressed
from keras_diffkd.pruning.rules.call import Change

_CONSTANT = "it is combined with a constant array"


def elementwise(call):
    """Sums, products and the like of tensors that broadcast."""
    rank = call.rank
    if _array_arguments(call):
        return call.keep(_CONSTANT)
    padded = [
        labels.reshape((1,) * (rank - labels.ndim) + labels.shape)
        for labels in call.inputs
    ]
    shapes = [(1,) * (rank - len(shape)) + tuple(shape) for shape in call.shapes]
    labeled = {axis_of(labels) for labels in padded} - {None}
    if len(labeled) > 1:
        return call.keep("tensors with channels on different axes are combined")
    axis = labeled.pop() if labeled else rank - 1
    whole, result = call.output_shapes[0][axis], None
    for labels, shape in zip(padded, shapes, strict=True):
        if shape[axis] == 1 and whole != 1:
            call.channels.fix(labels, "it is spread over all channels")
        elif result is None:
            result = labels
        else:
            call.channels.unite(result, labels)
            result = max(result, labels, key=np.size)
    return Change([call.channels.roots(result)])


def concatenate(call):
    """Concatenation, along the channels or along another axis."""
    return concatenated(call, getattr(call.operation, "axis", -1))


def concatenated(call, axis):
    """Returns the change of a concatenation along an axis."""
    axis %= call.rank
    labeled = {axis_of(labels) for labels in call.inputs} - {None}
    if labeled - {axis} and axis in labeled:
        return call.keep("tensors with channels on different axes are concatenated")
    if labeled - {axis}:
        for labels in call.inputs[1:]:
            call.channels.unite(call.inputs[0], labels)
        return Change([max(call.inputs, key=np.size)])
    sizes = [shape[axis] for shape in call.shapes]
    if None in sizes:
        return call.keep("the length of an axis is unknown")
    atoms = [
        np.broadcast_to(labels.reshape(-1), (size,))
        for labels, size in zip(call.inputs, sizes, strict=True)
    ]
    shape = [1] * call.rank
    shape[axis] = -1
    joined = np.concatenate(atoms).reshape(shape)
    return Change([compressed(joined, call.channels)])


def _array_arguments(call):
    """Returns whether the call reads an array with several values besides tensors."""
    return any(
        not isinstance(value, keras.KerasTensor) and np.size(value) > 1
        for value in keras.tree.flatten(call.arguments)
        if not isinstance(value, (str, bytes, type(None)))
    )


RULES = {
    **dict.fromkeys(
        (
            keras.layers.Add,
            keras.layers.Average,
            keras.layers.Maximum,
            keras.layers.Minimum,
            keras.layers.Multiply,
            keras.layers.Subtract,
        ),
        elementwise,
    ),
    keras.layers.Concatenate: concatenate,
}
OPERATIONS = {
    **dict.fromkeys(
        (
            "Add",
            "Divide",
            "Maximum",
            "Minimum",
            "Multiply",
            "Power",
            "Subtract",
            "TrueDivide",
        ),
        elementwise,
    ),
    "Concatenate": concatenate,
}
