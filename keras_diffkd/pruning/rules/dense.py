"""Rules for dense layers and embeddings."""

import math

import keras

from keras_diffkd.pruning.labels import axis_of, fixed_labels, on_axis
from keras_diffkd.pruning.rules.activations import fix_mixed
from keras_diffkd.pruning.rules.call import Change


def dense(call):
    """Dense layers, which read the last axis."""
    layer = call.operation
    positions = math.prod(size or 1 for size in call.output_shapes[0][1:-1])
    uses = {"kernel": positions}
    inputs = call.along(-1)
    if inputs is None:
        # It mixes positions, each channel apart, as in an MLP-Mixer.
        fix_mixed(call, call.inputs[0])
        return Change([call.inputs[0]], uses=uses)
    outputs = call.channels.new(call.path, layer.units)
    fix_mixed(call, outputs)
    weights = {"kernel": {0: inputs, 1: outputs}, "bias": {0: outputs}}
    labels = on_axis(outputs, -1, call.rank)
    return Change([labels], weights, {"units": outputs}, uses)


def einsum_dense(call):
    """Einsum layers. Their last new axis loses channels."""
    layer = call.operation
    read, kernel, result = _letters(layer.equation, len(call.shapes[0]), call.rank)
    axis = axis_of(call.inputs[0])
    letter = None if axis is None else read[axis]
    if letter is not None and (letter not in kernel or letter in result):
        return call.keep("its channels are not summed by an EinsumDense")
    weights = {"kernel": {}, "bias": {}}
    if letter is not None:
        weights["kernel"][kernel.index(letter)] = call.along(axis)
    uses = {
        "kernel": math.prod(
            size or 1
            for size, name in zip(call.output_shapes[0], result, strict=True)
            if name not in kernel and name != result[0]
        )
    }
    new = [name for name in result if name in kernel and name not in read]
    if not new:
        reason = "an EinsumDense makes no new axis"
        return Change(
            [fixed_labels(call.channels, call.rank, reason)], weights, {}, uses
        )
    place = result.index(new[-1])
    outputs = call.channels.new(call.path, call.output_shapes[0][place])
    fix_mixed(call, outputs)
    weights["kernel"][kernel.index(new[-1])] = outputs
    sizes = list(layer.partial_output_shape)
    sizes[place - call.rank] = outputs
    if layer.bias_axes and new[-1] in layer.bias_axes:
        kept = [name for name in result if name in layer.bias_axes]
        # The bias has length 1 on the axes behind its first one that it does not have.
        behind = len(result) - place
        weights["bias"] = {-behind: outputs} if kept else {}
    labels = on_axis(outputs, place, call.rank)
    return Change([labels], weights, {"output_shape": tuple(sizes)}, uses)


def embedding(call):
    """Embeddings, which make a new last axis."""
    outputs = call.channels.new(call.path, call.operation.output_dim)
    labels = on_axis(outputs, -1, call.rank)
    return Change([labels], {"embeddings": {1: outputs}}, {"output_dim": outputs})


def position_embedding(call):
    """KerasHub's learned positions, which have the shape of the input."""
    atoms = call.along(-1)
    if atoms is None:
        return call.keep("positions have channels only on the last axis")
    return Change([call.inputs[0]], {"embeddings": {1: atoms}})


def _letters(equation, input_rank, output_rank):
    """Returns the letters of inputs, kernel and outputs; an ellipsis is digits."""
    left, result = equation.replace(" ", "").split("->")
    read, kernel = left.split(",")
    hidden = "0123456789"[: input_rank - len(read.replace("...", ""))]
    parts = [part.replace("...", hidden) for part in (read, result)]
    return parts[0], kernel.replace("...", ""), parts[1]


RULES = {
    keras.layers.Dense: dense,
    keras.layers.EinsumDense: einsum_dense,
    keras.layers.Embedding: embedding,
}
NAMED_RULES = {"PositionEmbedding": position_embedding}
