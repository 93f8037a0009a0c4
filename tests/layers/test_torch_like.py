import keras
import numpy as np
import pytest
from reference.keras_side import assert_initial_values

from keras_diffkd.layers import torch_like


@pytest.mark.parametrize("kernel_size", [1, 3])
def test_convolution_starts_in_the_bounds_of_its_fan_in(kernel_size):
    layer = torch_like.convolution(2, 32, 512, kernel_size)
    layer.build((None, 5, 5, 32))
    assert layer.kernel.shape == (kernel_size, kernel_size, 32, 512)
    assert_initial_values(layer)


def test_dense_starts_in_the_bounds_of_its_fan_in():
    layer = torch_like.dense(32, 512)
    layer.build((None, 32))
    assert_initial_values(layer)


def test_convolution_is_padded_with_zeros():
    layer = torch_like.convolution(2, 1, 1, 3)
    layer.build((None, 3, 3, 1))
    layer.set_weights([np.ones((3, 3, 1, 1)), np.zeros(1)])
    ones = np.ones((1, 3, 3, 1), "float32")
    counts = [[4, 6, 4], [6, 9, 6], [4, 6, 4]]
    np.testing.assert_allclose(layer(ones)[0, :, :, 0], counts)


def test_channels_last_even_where_channels_first_is_the_default():
    previous = keras.config.image_data_format()
    keras.config.set_image_data_format("channels_first")
    try:
        layer = torch_like.convolution(2, 4, 6, 3)
    finally:
        keras.config.set_image_data_format(previous)
    assert layer(np.ones((2, 3, 3, 4), "float32")).shape == (2, 3, 3, 6)


def test_moving_variance_is_that_of_the_biased_batch_variance():
    layer = torch_like.batch_normalization()
    x = np.random.default_rng(0).normal(2.0, 3.0, (2, 2, 1, 4)).astype("float32")
    y = layer(x, training=True)
    mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
    np.testing.assert_allclose(layer.moving_mean, 0.1 * mean, rtol=1e-5)
    np.testing.assert_allclose(layer.moving_variance, 0.9 + 0.1 * variance, rtol=1e-5)
    np.testing.assert_allclose(
        y, (x - mean) / np.sqrt(variance + 1e-5), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize(
    "build",
    [
        lambda: torch_like.convolution(2, 4, 6, 3),
        lambda: torch_like.dense(4, 6),
        lambda: torch_like.batch_normalization(),
    ],
)
def test_float32_under_a_mixed_policy(build):
    previous = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        outputs = build()(np.ones((2, 3, 3, 4), "float16"))
        assert keras.backend.standardize_dtype(outputs.dtype) == "float32"
    finally:
        keras.config.set_dtype_policy(previous)
