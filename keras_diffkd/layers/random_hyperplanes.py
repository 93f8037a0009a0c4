"""Random hyperplanes through the center of the observed features."""

import keras

from keras_diffkd.layers.torch_like import check_channels
from keras_diffkd.validation.arguments import (
    check_choice,
    check_integer,
    check_number,
    check_seed,
)

# How to find the center of a batch.
CENTERS = ("median", "mean")


@keras.saving.register_keras_serializable(package="keras_diffkd")
class RandomHyperplanes(keras.layers.Layer):
    """Computes signed distances from random hyperplanes: `x W - c`.

    `W ~ N(0, stddev²)` is drawn once and never trained. `c` is the running median (or
    mean) of `x W`, so that about half of the features lie on either side. `observe`
    moves `c`; calling the layer does not.

    Args:
        features: Integer, size of the last axis of the input.
        num_hyperplanes: Integer, size of the last axis of the output.
        stddev: Positive float, scale of `W`.
        center: `"median"` or `"mean"`.
        momentum: Float in [0, 1), weight of the past in `c`. The start at zero is
            corrected.
        seed: Integer seed of `W`, or `None`.
        name: Optional name of the layer.

    Input shape: `(batch, features)`. Output: float32
    `(batch, num_hyperplanes)`.

    Raises:
        ValueError: If an argument is outside its range.

    Example:

    >>> layer = RandomHyperplanes(features=4, num_hyperplanes=6)
    >>> x = keras.random.normal((8, 4))
    >>> layer(x).shape
    TensorShape([8, 6])
    >>> layer.observe(x)
    >>> bool(keras.ops.max(keras.ops.abs(keras.ops.median(layer(x), axis=0))) < 1e-5)
    True

    Source: the hash functions of Distilling Knowledge by Mimicking Features
    (arXiv 2011.01424). The running median is our reading.
    """

    def __init__(
        self,
        features,
        num_hyperplanes,
        *,
        stddev=1.0,
        center="median",
        momentum=0.9,
        seed=None,
        name=None,
    ):
        super().__init__(name=name, dtype="float32")
        check_integer("features", features, 1)
        check_integer("num_hyperplanes", num_hyperplanes, 1)
        check_number("stddev", stddev, above=0)
        check_choice("center", center, CENTERS)
        check_number("momentum", momentum, least=0, below=1)
        check_seed(seed)
        self.features = features
        self.num_hyperplanes = num_hyperplanes
        self.stddev = stddev
        self.center = center
        self.momentum = momentum
        self.seed = seed

    def build(self, input_shape):
        check_channels(self, input_shape, self.features)
        self.directions = self.add_weight(
            name="directions",
            shape=(self.features, self.num_hyperplanes),
            initializer=keras.initializers.RandomNormal(
                stddev=self.stddev, seed=self.seed
            ),
            trainable=False,
        )
        self.running_sum = self.add_weight(
            name="running_sum",
            shape=(self.num_hyperplanes,),
            initializer="zeros",
            trainable=False,
        )
        self.running_weight = self.add_weight(
            name="running_weight", shape=(), initializer="zeros", trainable=False
        )

    def observe(self, x):
        """Moves the center toward the center of a batch `(batch, features)`."""
        values = keras.ops.matmul(x, self.directions)
        middle = keras.ops.median if self.center == "median" else keras.ops.mean
        for variable, new in (
            (self.running_sum, keras.ops.stop_gradient(middle(values, axis=0))),
            (self.running_weight, 1.0),
        ):
            variable.assign(self.momentum * variable + (1.0 - self.momentum) * new)

    def bias(self):
        """Returns `-c`, of shape `(num_hyperplanes,)`; zero before `observe`."""
        return -self.running_sum / keras.ops.maximum(self.running_weight, 1e-12)

    def call(self, inputs):
        return keras.ops.matmul(inputs, self.directions) + self.bias()

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.num_hyperplanes)

    def get_config(self):
        return {
            "features": self.features,
            "num_hyperplanes": self.num_hyperplanes,
            "stddev": self.stddev,
            "center": self.center,
            "momentum": self.momentum,
            "seed": self.seed,
            "name": self.name,
        }
