"""The network that predicts how much noise to add to a student's feature."""

import keras

from keras_diffkd.diffusion.denoiser import check_kernel_size
from keras_diffkd.layers.bottleneck import Bottleneck
from keras_diffkd.layers.torch_like import (
    batch_normalization,
    check_channels,
    check_rank,
    dense,
)
from keras_diffkd.validation.arguments import check_integer


@keras.saving.register_keras_serializable(package="keras_diffkd")
class NoiseAdapter(keras.layers.Layer):
    """Predicts the weight `γ` of a feature in its mix with noise.

    `γ = softmax(Dense_2(GAP(features(x))))[:, 0]`, one per sample. The mix
    `γ x + (1 - γ) ε` is as noisy as the first timestep of the sampler expects.
    `features` is a `Bottleneck` with reduction 8 for `kernel_size=3`, and
    `Conv1x1 C->2C, BN, ReLU, Conv1x1 2C->C, BN` for `kernel_size=1`.

    Args:
        channels: Integer, channels of the feature.
        kernel_size: 3 for feature maps and sequences, 1 for vectors as 1x1 maps.
        rank: Integer, the number of axes between batch and channels: 1 for
            sequences, 2 for maps, 3 for maps of three dimensions.
        name: Optional name of the layer.

    Input shape: `(batch, height, width, channels)`, `(batch, timesteps, channels)`
    or `(batch, depth, height, width, channels)`. Output: `γ`, float32 of shape
    `(batch,)` in (0, 1).

    Raises:
        ValueError: If `channels`, `kernel_size` or `rank` is outside its range.

    Example:

    >>> NoiseAdapter(channels=8)(keras.ops.ones((2, 5, 5, 8))).shape
    TensorShape([2])

    Source: DiffKD (arXiv 2305.15712), section 3.4 and authors' code.
    """

    def __init__(self, channels, kernel_size=3, *, rank=2, name=None):
        super().__init__(name=name, dtype="float32")
        self.channels = channels = check_integer("channels", channels, 1)
        check_kernel_size(kernel_size)
        check_rank(rank)
        self.kernel_size = kernel_size
        self.rank = rank
        if kernel_size == 3:
            self.blocks = [Bottleneck(channels, 8, rank=rank, name="bottleneck")]
        else:
            self.blocks = [
                dense(channels, 2 * channels, name="expand_conv"),
                batch_normalization(name="expand_bn"),
                keras.layers.ReLU(dtype="float32", name="relu"),
                dense(2 * channels, channels, name="reduce_conv"),
                batch_normalization(name="reduce_bn"),
            ]
        self.prediction = dense(channels, 2, name="prediction")

    def build(self, input_shape):
        check_channels(self, input_shape, self.channels)
        shape = tuple(input_shape)
        for block in self.blocks:
            block.build(shape)
            shape = block.compute_output_shape(shape)
        self.prediction.build((shape[0], self.channels))

    def call(self, inputs, training=False):
        x = inputs
        for block in self.blocks:
            x = block(x, training=training)
        pooled = keras.ops.mean(x, axis=tuple(range(1, len(x.shape) - 1)))
        return keras.ops.softmax(self.prediction(pooled))[:, 0]

    def compute_output_shape(self, input_shape):
        return (input_shape[0],)

    def get_config(self):
        return {
            "channels": self.channels,
            "kernel_size": self.kernel_size,
            "rank": self.rank,
            "name": self.name,
        }
