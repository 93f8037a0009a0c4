"""Layers with the defaults of the DiffKD authors' framework.

Methods are trained from scratch, for as long as the student, so their initial weights
change the results. Every convolution, dense layer and batch normalization of a method
comes from here, to compare with the published method. They compute in float32, whatever
the dtype policy.
"""

import math

import keras

from keras_diffkd.validation.arguments import check_choice


def check_channels(layer, input_shape, channels):
    """Raises `ValueError` unless the last axis of `input_shape` is `channels`."""
    if input_shape[-1] != channels:
        raise ValueError(
            f"{type(layer).__name__} was made for features of {channels} channels. "
            f"Received: an input of shape {tuple(input_shape)}."
        )


def fan_in_uniform(fan_in):
    """Returns an initializer uniform in `±1 / sqrt(fan_in)`.

    Args:
        fan_in: Integer, the number of inputs that feed one output.

    Example:

    >>> kernel = fan_in_uniform(16)((3, 3))
    >>> bool(keras.ops.max(keras.ops.abs(kernel)) <= 0.25)
    True
    """
    limit = 1.0 / math.sqrt(fan_in)
    return keras.initializers.RandomUniform(-limit, limit)


def convolution(rank, in_channels, filters, kernel_size, name=None):
    """Returns a "same" convolution whose kernel and bias are `fan_in_uniform`.

    For kernels of size 1, `dense` computes the same faster.

    Args:
        rank: Integer, 1 for a `Conv1D`, 2 for a `Conv2D`, 3 for a `Conv3D`.
        in_channels: Integer, channels of the input feature.
        filters: Integer, channels of the output feature.
        kernel_size: Integer, side of the kernel.
        name: Optional name of the layer.
    """
    fan_in = in_channels * kernel_size**rank
    layers = {1: keras.layers.Conv1D, 2: keras.layers.Conv2D, 3: keras.layers.Conv3D}
    return layers[rank](
        filters,
        kernel_size,
        padding="same",
        data_format="channels_last",
        kernel_initializer=fan_in_uniform(fan_in),
        bias_initializer=fan_in_uniform(fan_in),
        dtype="float32",
        name=name,
    )


def check_rank(rank):
    """Raises `ValueError` unless there is a `convolution` of this rank."""
    check_choice("rank", rank, (1, 2, 3))


def dense(in_channels, units, name=None):
    """Returns a `Dense` layer whose kernel and bias are `fan_in_uniform`.

    On a map `(batch, height, width, in_channels)` it is a 1x1 convolution, computed as
    one matrix product. On CPUs its gradient takes half the time of a `Conv2D`'s.

    Args:
        in_channels: Integer, size of the last axis of the input.
        units: Integer, size of the last axis of the output.
        name: Optional name of the layer.
    """
    return _Pointwise(
        units,
        kernel_initializer=fan_in_uniform(in_channels),
        bias_initializer=fan_in_uniform(in_channels),
        dtype="float32",
        name=name,
    )


class _Pointwise(keras.layers.Dense):
    """Computes a `Dense` layer on a matrix, whatever the rank of its input.

    On TensorFlow, Keras adds the bias after it has reshaped the product, so that
    the runtime cannot join the two, and reads shapes in a dozen operations.
    """

    def call(self, inputs, training=None):
        *before, channels = inputs.shape
        if len(before) == 1 or None in before[1:]:
            return super().call(inputs, training=training)
        outputs = super().call(keras.ops.reshape(inputs, (-1, channels)))
        return keras.ops.reshape(outputs, (-1, *before[1:], self.units))


def batch_normalization(name=None):
    """Returns a `BatchNormalization` with epsilon 1e-5 and momentum 0.9."""
    return keras.layers.BatchNormalization(
        momentum=0.9, epsilon=1e-5, dtype="float32", name=name
    )
