"""A linear map that keeps lengths and angles under any optimizer."""

import math

import keras

from keras_diffkd.layers.torch_like import check_channels
from keras_diffkd.validation.arguments import check_integer

# Of the truncated exponential series.
DEGREE = 9


@keras.saving.register_keras_serializable(package="keras_diffkd")
class OrthogonalProjection(keras.layers.Layer):
    """Computes `x P` with `P Pᵀ = I`, or `Pᵀ P = I` if `P` narrows the features.

    `P` is a part of the rotation `exp(A)`, `A = X - Xᵀ`, with a strictly lower
    triangular weight `X`. Training needs no penalty and no projection after a step.
    There is no bias.

    Args:
        input_features: Integer, size of the last axis of the input.
        output_features: Integer, size of the last axis of the output.
        name: Optional name of the layer.

    Input shape: `(..., input_features)`. Output: float32
    `(..., output_features)`.

    Raises:
        ValueError: If a number of features is below 1.

    Example:

    >>> layer = OrthogonalProjection(4, 6)
    >>> layer(keras.ops.ones((2, 4))).shape
    TensorShape([2, 6])
    >>> matrix = layer.projection()
    >>> gram = keras.ops.matmul(matrix, keras.ops.transpose(matrix))
    >>> bool(keras.ops.max(keras.ops.abs(gram - keras.ops.eye(4))) < 1e-5)
    True

    Source: VkD (arXiv 2403.06213), section 3.2. The truncation of the series and its
    correction are ours.
    """

    def __init__(self, input_features, output_features, *, name=None):
        super().__init__(name=name, dtype="float32")
        self.input_features = check_integer("input_features", input_features, 1)
        self.output_features = check_integer("output_features", output_features, 1)

    def build(self, input_shape):
        check_channels(self, input_shape, self.input_features)
        wide = max(self.input_features, self.output_features)
        narrow = min(self.input_features, self.output_features)
        # A random rotation with angles of up to about 2 radians.
        self.tangent = self.add_weight(
            name="tangent",
            shape=(wide, narrow),
            initializer=keras.initializers.RandomNormal(stddev=wide**-0.5),
        )

    def projection(self):
        """Returns `P`, float32 of shape `(input_features, output_features)`."""
        wide, narrow = self.tangent.shape
        lower = keras.ops.pad(
            keras.ops.tril(self.tangent, -1), [[0, 0], [0, wide - narrow]]
        )
        rotation = rotation_from_skew(lower - keras.ops.transpose(lower))
        columns = nearest_orthonormal(rotation[:, :narrow])
        if self.input_features > self.output_features:
            return columns
        return keras.ops.transpose(columns)

    def call(self, inputs):
        return keras.ops.matmul(inputs, self.projection())

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.output_features)

    def get_config(self):
        return {
            "input_features": self.input_features,
            "output_features": self.output_features,
            "name": self.name,
        }


def rotation_from_skew(skew):
    """Returns the matrix exponential of a skew-symmetric matrix.

    Every rotation has a logarithm of Frobenius norm at most `π sqrt(n)`, so a longer
    one is shortened to that. A fixed number of squarings then suffices for any weights.

    Args:
        skew: float32 tensor of shape `(n, n)`.
    """
    n = skew.shape[0]
    longest = math.pi * math.sqrt(n)
    squarings = math.ceil(math.log2(longest))
    squared_norm = keras.ops.sum(keras.ops.square(skew))
    shortening = longest * keras.ops.rsqrt(keras.ops.maximum(squared_norm, longest**2))
    # The norm is at most 1, and angles are at most 1 / sqrt(2).
    result = truncated_exponential(skew * shortening / 2**squarings)
    for _ in range(squarings):
        result = keras.ops.matmul(result, result)
    return result


def truncated_exponential(matrix):
    """Returns the exponential series up to the ninth power, in four products."""
    square = keras.ops.matmul(matrix, matrix)
    cube = keras.ops.matmul(square, matrix)
    powers = [keras.ops.eye(matrix.shape[0], dtype=matrix.dtype), matrix, square]
    result = cube / math.factorial(DEGREE)
    for lowest in range(DEGREE - 3, -1, -3):
        if lowest < DEGREE - 3:
            result = keras.ops.matmul(cube, result)
        for offset, power in enumerate(powers):
            result = result + power / math.factorial(lowest + offset)
    return result


def nearest_orthonormal(columns):
    """Returns columns that are orthonormal to float precision, from nearly such ones.

    Each squaring doubles the rounding error of a rotation. One step of the
    Newton-Schulz iteration squares the remaining error.
    """
    gram = keras.ops.matmul(keras.ops.transpose(columns), columns)
    eye = keras.ops.eye(columns.shape[1], dtype=columns.dtype)
    correction = 1.5 * eye - 0.5 * gram
    return keras.ops.matmul(columns, correction)
