"""The residual bottleneck block of the denoiser and of the noise adapter."""

import keras

from keras_diffkd.layers.torch_like import (
    batch_normalization,
    check_channels,
    check_rank,
    convolution,
    dense,
)


@keras.saving.register_keras_serializable(package="keras_diffkd")
class Bottleneck(keras.layers.Layer):
    """Residual bottleneck without an activation after the sum.

    `x + [Conv1x1 C->C/r, BN, ReLU, Conv3x3, BN, ReLU, Conv1x1 C/r->C, BN](x)`, with
    kernels of one size along all axes between batch and channels.

    Args:
        channels: Integer, channels `C` of the input and of the output.
        reduction: Integer `r`. The inner width is `channels // reduction`: a
            `channels` that `reduction` does not divide is rounded down.
        rank: Integer, the number of axes between batch and channels: 1 for
            sequences, 2 for maps, 3 for maps of three dimensions.
        name: Optional name of the layer.

    Input and output shape: `(batch, height, width, channels)`,
    `(batch, timesteps, channels)` or `(batch, depth, height, width, channels)`,
    float32.

    Raises:
        ValueError: If `channels < reduction` (the inner width would be 0), or
            `rank` is not 1, 2 or 3.

    Example:

    >>> block = Bottleneck(channels=8, reduction=4)
    >>> block(keras.ops.ones((2, 5, 5, 8)), training=False).shape
    TensorShape([2, 5, 5, 8])

    Source: DiffKD (arXiv 2305.15712), authors' code, for maps.
    """

    def __init__(self, channels, reduction, *, rank=2, name=None):
        super().__init__(name=name, dtype="float32")
        check_rank(rank)
        if reduction < 1 or channels < reduction:
            raise ValueError(
                "`channels` must be at least `reduction`, and `reduction` at least 1: "
                "the block's inner width is channels // reduction. "
                f"Received: channels={channels}, reduction={reduction}. "
                "Use more channels (`latent_channels`) for this feature."
            )
        self.channels = channels
        self.reduction = reduction
        self.rank = rank
        inner = channels // reduction
        self.reduce_conv = dense(channels, inner, name="reduce_conv")
        self.reduce_bn = batch_normalization(name="reduce_bn")
        self.spatial_conv = convolution(rank, inner, inner, 3, name="spatial_conv")
        self.spatial_bn = batch_normalization(name="spatial_bn")
        self.expand_conv = dense(inner, channels, name="expand_conv")
        self.expand_bn = batch_normalization(name="expand_bn")

    def build(self, input_shape):
        check_channels(self, input_shape, self.channels)
        grid = tuple(input_shape[:-1])
        outer, inner = (*grid, self.channels), (*grid, self.channels // self.reduction)
        self.reduce_conv.build(outer)
        self.reduce_bn.build(inner)
        self.spatial_conv.build(inner)
        self.spatial_bn.build(inner)
        self.expand_conv.build(inner)
        self.expand_bn.build(outer)

    def call(self, inputs, training=False):
        x = self.reduce_bn(self.reduce_conv(inputs), training=training)
        x = keras.ops.relu(x)
        x = self.spatial_bn(self.spatial_conv(x), training=training)
        x = keras.ops.relu(x)
        x = self.expand_bn(self.expand_conv(x), training=training)
        return inputs + x

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {
            "channels": self.channels,
            "reduction": self.reduction,
            "rank": self.rank,
            "name": self.name,
        }
