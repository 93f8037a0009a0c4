"""The noise prediction network of the feature diffusion model."""

import keras

from keras_diffkd.layers.bottleneck import Bottleneck
from keras_diffkd.layers.torch_like import (
    batch_normalization,
    check_channels,
    check_rank,
    dense,
)
from keras_diffkd.validation.arguments import check_integer

MAX_TIMESTEPS = 1280


@keras.saving.register_keras_serializable(package="keras_diffkd")
class Denoiser(keras.layers.Layer):
    """Predicts the noise in a feature, given the timestep of the noise schedule.

    An embedding of the timestep is added at every position. For `kernel_size=3` (maps
    and sequences), two `Bottleneck`s with reduction 4, a 1x1 convolution and a batch
    normalization follow. For `kernel_size=1` (logits and other vectors, as maps of 1x1
    pixels), `Conv1x1 C->4C, BN, ReLU, Conv1x1 4C->C` follows twice, with a batch
    normalization between the two.

    Args:
        channels: Integer, channels `C` of the feature.
        kernel_size: 3 or 1.
        rank: Integer, the number of axes between batch and channels: 1 for
            sequences, 2 for maps, 3 for maps of three dimensions.
        name: Optional name of the layer.

    Call arguments:
        x: Float tensor of shape `(batch, height, width, channels)`,
            `(batch, timesteps, channels)` or
            `(batch, depth, height, width, channels)`, as `rank` says.
        timesteps: Integer tensor of shape `(batch,)`, or `(1,)` for all samples, in
            `[0, 1280)`.
        training: Whether batch normalization uses and moves batch statistics.

    Returns:
        float32 tensor like `x`.

    Raises:
        ValueError: If `channels`, `kernel_size` or `rank` is outside its range.

    Example:

    >>> denoiser = Denoiser(channels=8)
    >>> denoiser(keras.ops.ones((2, 5, 5, 8)), keras.ops.array([3, 400])).shape
    TensorShape([2, 5, 5, 8])

    Source: DiffKD (arXiv 2305.15712), section 3.3 and authors' code. Other
    ranks than 2 are ours.
    """

    def __init__(self, channels, kernel_size=3, *, rank=2, name=None):
        super().__init__(name=name, dtype="float32")
        self.channels = channels = check_integer("channels", channels, 1)
        check_kernel_size(kernel_size)
        check_rank(rank)
        self.kernel_size = kernel_size
        self.rank = rank
        self.time_embedding = keras.layers.Embedding(
            MAX_TIMESTEPS,
            channels,
            embeddings_initializer=keras.initializers.RandomNormal(stddev=1.0),
            dtype="float32",
            name="time_embedding",
        )
        if kernel_size == 3:
            self.blocks = [
                Bottleneck(channels, 4, rank=rank, name="bottleneck_1"),
                Bottleneck(channels, 4, rank=rank, name="bottleneck_2"),
                dense(channels, channels, name="output_conv"),
                batch_normalization(name="output_bn"),
            ]
        else:
            wide = 4 * channels
            self.blocks = [
                dense(channels, wide, name="expand_conv_1"),
                batch_normalization(name="expand_bn_1"),
                keras.layers.ReLU(dtype="float32", name="relu_1"),
                dense(wide, channels, name="reduce_conv_1"),
                batch_normalization(name="reduce_bn_1"),
                dense(channels, wide, name="expand_conv_2"),
                batch_normalization(name="expand_bn_2"),
                keras.layers.ReLU(dtype="float32", name="relu_2"),
                dense(wide, channels, name="reduce_conv_2"),
            ]

    def build(self, x_shape, timesteps_shape=None):
        check_channels(self, x_shape, self.channels)
        self.time_embedding.build(timesteps_shape)
        shape = tuple(x_shape)
        for block in self.blocks:
            block.build(shape)
            shape = block.compute_output_shape(shape)

    def call(self, x, timesteps, training=False):
        embedding = self.time_embedding(timesteps)
        for _ in range(self.rank):
            embedding = keras.ops.expand_dims(embedding, 1)
        x = x + embedding
        for block in self.blocks:
            x = block(x, training=training)
        return x

    def compute_output_shape(self, x_shape, timesteps_shape=None):
        return x_shape

    def get_config(self):
        return {
            "channels": self.channels,
            "kernel_size": self.kernel_size,
            "rank": self.rank,
            "name": self.name,
        }


def check_kernel_size(kernel_size):
    """Raises `ValueError` unless the networks exist for this size."""
    if not isinstance(kernel_size, int) or kernel_size not in (1, 3):
        raise ValueError(
            "`kernel_size` must be 3 (maps, token grids and sequences) or 1 (vectors). "
            f"Received: kernel_size={kernel_size}"
        )


def check_num_train_timesteps(num_train_timesteps):
    """Raises `ValueError` if the denoiser has no embedding for every timestep."""
    check_integer("num_train_timesteps", num_train_timesteps, 2)
    if num_train_timesteps > MAX_TIMESTEPS:
        raise ValueError(
            f"`num_train_timesteps` can be at most {MAX_TIMESTEPS}, the size of "
            "the denoiser's timestep embedding. "
            f"Received: num_train_timesteps={num_train_timesteps}"
        )
