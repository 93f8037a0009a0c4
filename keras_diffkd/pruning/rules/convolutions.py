"""Rules for convolutions."""

import math

import keras
import numpy as np

from keras_diffkd.pruning.labels import on_axis
from keras_diffkd.pruning.rules.activations import fix_mixed
from keras_diffkd.pruning.rules.call import Change

_OTHER_AXIS = "its channels are not on the axis that a convolution reads"


def channel_axis(call):
    """Returns the axis of the channels of a layer with a `data_format`."""
    is_first = call.operation.data_format == "channels_first"
    return 1 if is_first else len(call.shapes[0]) - 1


def convolution(call):
    """Convolutions, grouped or not, and transposed ones."""
    layer, axis = call.operation, channel_axis(call)
    inputs = call.along(axis)
    if inputs is None:
        return call.keep(_OTHER_AXIS)
    groups = getattr(layer, "groups", 1)
    config, each = {}, len(inputs) // groups
    if groups == 1:
        outputs = call.channels.new(call.path, layer.filters)
    elif each == 1:
        # A group is one channel, as in a depthwise convolution.
        outputs = np.repeat(inputs, layer.filters // groups)
        config["groups"] = inputs
    else:
        call.channels.unite(inputs.reshape(groups, each), inputs[:each])
        outputs = call.channels.new(call.path, layer.filters // groups, tiles=groups)
    transposed = isinstance(
        layer,
        (
            keras.layers.Conv1DTranspose,
            keras.layers.Conv2DTranspose,
            keras.layers.Conv3DTranspose,
        ),
    )
    kernel = {-1: inputs, -2: outputs} if transposed else {-1: outputs}
    if not transposed and each > 1:
        kernel[-2] = inputs[:each]
    shape = call.shapes[0] if transposed else call.output_shapes[0]
    return _change(
        call,
        outputs,
        {"kernel": kernel, "bias": {0: outputs}},
        {"filters": outputs, **config},
        {"kernel": _positions(shape, axis)},
    )


def depthwise(call):
    """Depthwise convolutions: each output channel reads one input channel."""
    axis = channel_axis(call)
    inputs = call.along(axis)
    if inputs is None:
        return call.keep(_OTHER_AXIS)
    outputs = np.repeat(inputs, call.operation.depth_multiplier)
    return _change(
        call,
        outputs,
        {"kernel": {-2: inputs}, "bias": {0: outputs}},
        {},
        {"kernel": _positions(call.output_shapes[0], axis)},
    )


def separable(call):
    """Separable convolutions: a depthwise and a pointwise kernel."""
    layer, axis = call.operation, channel_axis(call)
    inputs = call.along(axis)
    if inputs is None:
        return call.keep(_OTHER_AXIS)
    outputs = call.channels.new(call.path, layer.filters)
    positions = _positions(call.output_shapes[0], axis)
    return _change(
        call,
        outputs,
        {
            "depthwise_kernel": {-2: inputs},
            "pointwise_kernel": {
                -2: np.repeat(inputs, layer.depth_multiplier),
                -1: outputs,
            },
            "bias": {0: outputs},
        },
        {"filters": outputs},
        {"depthwise_kernel": positions, "pointwise_kernel": positions},
    )


def _change(call, atoms, weights, config, uses):
    fix_mixed(call, atoms)
    labels = on_axis(atoms, channel_axis(call), call.rank)
    return Change([labels], weights, config, uses)


def _positions(shape, axis):
    """Returns the number of positions of a map, with unknown sizes as 1."""
    return math.prod(
        size or 1 for place, size in enumerate(shape) if place not in (0, axis)
    )


RULES = {
    **dict.fromkeys(
        (
            keras.layers.Conv1D,
            keras.layers.Conv2D,
            keras.layers.Conv3D,
            keras.layers.Conv1DTranspose,
            keras.layers.Conv2DTranspose,
            keras.layers.Conv3DTranspose,
        ),
        convolution,
    ),
    keras.layers.DepthwiseConv1D: depthwise,
    keras.layers.DepthwiseConv2D: depthwise,
    keras.layers.SeparableConv1D: separable,
    keras.layers.SeparableConv2D: separable,
}
