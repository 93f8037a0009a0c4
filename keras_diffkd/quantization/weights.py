"""Rounds the weights of layers to int8, per output channel."""

import keras

from keras_diffkd.keras_private.scopes import autocasting

LIMIT = 127
# A smaller step would not be a normal float32 number.
SMALLEST = 1e-30


def kernel_of(layer, name):
    """Returns the variable with a name, such as `"kernel"`, of a layer."""
    return next(weight for weight in layer.weights if weight.name == name)


def rounded_kernel(kernel, axes, factor=None):
    """Returns a kernel rounded to int8 values, -127 to 127, times a scale per channel.

    The gradient is that of the kernel times the factor (straight-through).

    Args:
        kernel: float32 tensor.
        axes: Tuple of the axes that do not tell output channels apart.
        factor: Optional tensor that multiplies the kernel first, for a folded batch
            normalization. It broadcasts to the kernel.
    """
    if factor is not None:
        kernel = kernel * factor
    scale = kernel_scale(kernel, axes)
    rounded = keras.ops.round(kernel / scale) * scale
    return kernel + keras.ops.stop_gradient(rounded - kernel)


def rounded_bias(bias, step, kernel, axes):
    """Returns a bias rounded to multiples of the step of a product.

    Files store it as int32. In a deep student, what is lost by that adds up to a step
    of the outputs. It stays as it is where the kernel does not have one scale for each
    of its values.

    Args:
        bias: float32 tensor or variable.
        step: Float or float32 scalar, of the layer's input.
        kernel: The rounded kernel.
        axes: As for `rounded_kernel`.
    """
    steps = step * keras.ops.reshape(kernel_scale(kernel, axes), (-1,))
    if tuple(bias.shape) != tuple(steps.shape):
        return bias
    with autocasting(None):
        bias = keras.ops.cast(bias, "float32")
    # The input may be 0 everywhere.
    is_dead = steps < SMALLEST
    steps = keras.ops.where(is_dead, 1.0, steps)
    return keras.ops.where(is_dead, bias, keras.ops.round(bias / steps) * steps)


def kernel_scale(kernel, axes):
    """Returns the step of each output channel, 1 where all weights are next to 0."""
    kernel = keras.ops.stop_gradient(kernel)
    largest = keras.ops.max(keras.ops.abs(kernel), axis=axes, keepdims=True)
    return keras.ops.where(largest < SMALLEST, 1.0, largest / LIMIT)


def reduced_axes(layer, name):
    """Returns the axes of a kernel that do not tell output channels apart.

    Args:
        layer: A layer in `kinds.KERNELS`.
        name: Name of the kernel.

    Example:

    >>> layer = keras.layers.Conv2D(4, 3)
    >>> layer.build((None, 8, 8, 3))
    >>> reduced_axes(layer, "kernel")
    (0, 1, 2)
    """
    rank = len(kernel_of(layer, name).shape)
    if isinstance(layer, keras.layers.EinsumDense):
        operands, result = layer.equation.split("->")
        letters = operands.split(",")[1].replace("...", "")
        return tuple(i for i, letter in enumerate(letters) if letter not in result)
    if isinstance(layer, keras.layers.Conv2DTranspose):
        return (0, 1, 3)
    if _is_depthwise(layer, name):
        return tuple(range(rank - 2))
    return tuple(range(rank - 1))


def factor_of_channels(layer, name, factor):
    """Returns a factor per output channel in the shape that multiplies the kernel."""
    kernel = kernel_of(layer, name)
    if isinstance(layer, keras.layers.Conv2DTranspose):
        return keras.ops.expand_dims(factor, -1)
    if _is_depthwise(layer, name):
        return keras.ops.reshape(factor, kernel.shape[-2:])
    return factor


def for_channels(layer, vector, rank):
    """Returns a vector with one number per channel in a shape that adds to outputs.

    Args:
        layer: The layer that computes the outputs.
        vector: Tensor or variable of shape `(channels,)`.
        rank: Integer, of the outputs.
    """
    if getattr(layer, "data_format", None) == "channels_first":
        return keras.ops.reshape(vector, (-1, *[1] * (rank - 2)))
    return vector


def scale_and_offset(normalization, bias=None):
    """Returns the factor and the offset of a batch normalization as float32 tensors.

    Args:
        normalization: `keras.layers.BatchNormalization`.
        bias: Optional variable, the bias of the layer before it. The offset then
            contains it.
    """
    with autocasting(None):
        mean, variance = (
            keras.ops.cast(variable.value, "float32")
            for variable in (normalization.moving_mean, normalization.moving_variance)
        )
        # Not `rsqrt`, which processors approximate each in its own way.
        factor = 1 / keras.ops.sqrt(variance + normalization.epsilon)
        if normalization.scale:
            factor = factor * keras.ops.cast(normalization.gamma.value, "float32")
        if bias is not None:
            mean = mean - keras.ops.cast(bias.value, "float32")
        offset = -mean * factor
        if normalization.center:
            offset = offset + keras.ops.cast(normalization.beta.value, "float32")
    return factor, offset


def _is_depthwise(layer, name):
    depthwise = keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D
    return name == "depthwise_kernel" or isinstance(layer, depthwise)
