"""Runs separable convolutions in two parts, as exported files do."""

import keras


def separable_call(layer, inputs, middle, rounded):
    """Returns what a separable convolution computes, rounded between its kernels.

    Args:
        layer: `keras.layers.SeparableConv1D` or `SeparableConv2D`.
        inputs: Its input.
        middle: `Site` of the tensor between the kernels.
        rounded: Callable `(site, tensor) -> tensor`.
    """
    outputs = keras.ops.depthwise_conv(
        inputs,
        layer.depthwise_kernel,
        strides=layer.strides,
        padding=layer.padding,
        dilation_rate=layer.dilation_rate,
        data_format=layer.data_format,
    )
    outputs = keras.ops.conv(
        rounded(middle, outputs),
        layer.pointwise_kernel,
        padding="valid",
        data_format=layer.data_format,
    )
    if layer.use_bias:
        bias = layer.bias
        if layer.data_format == "channels_first":
            bias = keras.ops.reshape(bias, (-1, *[1] * layer.rank))
        outputs = outputs + bias
    return outputs if layer.activation is None else layer.activation(outputs)
