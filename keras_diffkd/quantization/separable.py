"""Runs separable convolutions in two parts, as exported files do."""

import keras

from keras_diffkd.quantization.weights import for_channels


def separable_call(layer, inputs, middle, rounded):
    """Computes a separable convolution, rounded between its kernels.

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
        outputs = outputs + for_channels(layer, layer.bias, layer.rank + 2)
    return outputs if layer.activation is None else layer.activation(outputs)
