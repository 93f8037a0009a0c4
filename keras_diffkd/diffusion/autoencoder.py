"""A linear autoencoder: wide teacher features become cheap to denoise."""

import keras

from keras_diffkd.layers.torch_like import batch_normalization, check_channels, dense
from keras_diffkd.validation.arguments import check_integer

# A latent may have more channels than the feature: 1024 for 512 in the paper's setup
# for ImageNet. A larger factor than this is a typing error.
LARGEST_EXPANSION = 4


@keras.saving.register_keras_serializable(package="keras_diffkd")
class LinearAutoencoder(keras.layers.Layer):
    """Compresses the channels of a feature and restores them.

    `encode(x) = BN(Conv1x1(x))`, `decode(z) = Conv1x1(z)`. Calling the layer
    returns both, `(latent, reconstruction)`.

    Args:
        input_channels: Integer, channels of the feature map.
        latent_channels: Integer, channels of the latent feature map.
        name: Optional name of the layer.

    Input shape: `(batch, ..., input_channels)`: a map, a sequence or a map of three
    dimensions. Output: float32 tensors `(batch, ..., latent_channels)` and one like
    the input.

    Raises:
        ValueError: If a number of channels is below 1.

    Example:

    >>> autoencoder = LinearAutoencoder(input_channels=16, latent_channels=8)
    >>> latent, reconstruction = autoencoder(keras.ops.ones((2, 5, 5, 16)))
    >>> latent.shape, reconstruction.shape
    (TensorShape([2, 5, 5, 8]), TensorShape([2, 5, 5, 16]))

    Source: DiffKD (arXiv 2305.15712), section 3.3 and authors' code.
    """

    def __init__(self, input_channels, latent_channels, *, name=None):
        super().__init__(name=name, dtype="float32")
        input_channels = check_integer("input_channels", input_channels, 1)
        latent_channels = check_integer("latent_channels", latent_channels, 1)
        self.input_channels = input_channels
        self.latent_channels = latent_channels
        self.encoder_conv = dense(input_channels, latent_channels, name="encoder_conv")
        self.encoder_bn = batch_normalization(name="encoder_bn")
        self.decoder_conv = dense(latent_channels, input_channels, name="decoder_conv")

    def build(self, input_shape):
        check_channels(self, input_shape, self.input_channels)
        latent_shape = (*input_shape[:-1], self.latent_channels)
        self.encoder_conv.build(tuple(input_shape))
        self.encoder_bn.build(latent_shape)
        self.decoder_conv.build(latent_shape)

    def encode(self, x, training=False):
        """Returns the latent feature map of `x`."""
        return self.encoder_bn(self.encoder_conv(x), training=training)

    def decode(self, latent):
        """Returns the feature map of a latent."""
        return self.decoder_conv(latent)

    def call(self, inputs, training=False):
        latent = self.encode(inputs, training=training)
        return latent, self.decode(latent)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.latent_channels), input_shape

    def get_config(self):
        return {
            "input_channels": self.input_channels,
            "latent_channels": self.latent_channels,
            "name": self.name,
        }


def check_latent_channels(latent_channels, input_channels, is_vector):
    """Raises `ValueError` unless an autoencoder of this size suits the feature."""
    if is_vector:
        raise ValueError(
            "`latent_channels` is for maps, tokens and sequences; logits and other "
            "vectors are denoised as they are. Received: "
            f"latent_channels={latent_channels} with a vector of {input_channels}. "
            "Pass latent_channels=None."
        )
    most = LARGEST_EXPANSION * input_channels
    if latent_channels > most:
        raise ValueError(
            f"`latent_channels` must be at most {LARGEST_EXPANSION} times the "
            f"teacher's channels, {most} here. Received: "
            f"latent_channels={latent_channels} for a teacher's feature of "
            f"{input_channels} channels."
        )
