"""Fake quantization against float64 NumPy, and gradients by its definition."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_diffkd.quantization.weights import reduced_axes, rounded_kernel
from keras_diffkd.training import backend
from keras_diffkd.training.fake_quantization import (
    fake_quantize,
    learned_fake_quantize,
)

RANGES = [(0.0, 6.0), (-1.3, 2.7), (-3.0, 0.0), (-0.01, 5.0), (0.0, 0.0)]


def nudged(minimum, maximum):
    scale = (maximum - minimum) / 255
    if scale == 0:
        return 0.0, 0.0, 0.0
    zero_point = np.clip(np.floor(-minimum / scale + 0.5), 0, 255)
    return -zero_point * scale, (255 - zero_point) * scale, scale


def reference(x, minimum, maximum):
    """The definition, in float64."""
    lowest, highest, scale = nudged(minimum, maximum)
    if scale == 0:
        return np.zeros_like(x)
    steps = np.floor((np.clip(x, lowest, highest) - lowest) / scale + 0.5)
    return lowest + steps * scale


def values():
    return np.random.default_rng(0).normal(size=(4, 500)) * 3


@pytest.mark.parametrize("pair", RANGES)
@pytest.mark.parametrize(
    "function", [fake_quantize, backend.fake_quantize, learned_fake_quantize]
)
def test_values_are_those_of_the_definition(function, pair):
    x = values()
    result = keras.ops.convert_to_numpy(function(keras.ops.cast(x, "float32"), *pair))
    error = np.abs(result - reference(x, *pair))
    step = (pair[1] - pair[0]) / 255
    # A value between two steps may round to either in float32.
    assert np.mean(error > 1e-5) < 0.002
    assert error.max() <= step * 1.001


@pytest.mark.backend("tensorflow")
@pytest.mark.parametrize("pair", RANGES)
def test_plain_operations_equal_tensorflows_own(pair):
    x = keras.ops.cast(values(), "float32")
    ours, theirs = fake_quantize(x, *pair), backend.fake_quantize(x, *pair)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize("function", [fake_quantize, backend.fake_quantize])
def test_gradient_is_one_inside_the_range(function):
    x, weights = values(), np.random.default_rng(1).normal(size=(4, 500))
    factors = keras.ops.cast(weights, "float32")
    lowest, highest, _ = nudged(-1.3, 2.7)

    def weighted(x):
        return keras.ops.sum(function(x, -1.3, 2.7) * factors)

    gradient = backend.gradient(weighted, keras.ops.cast(x, "float32"))
    expected = np.where((x >= lowest) & (x <= highest), weights, 0)
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(gradient), expected, atol=1e-6
    )


def test_gradients_of_a_learned_range_are_those_of_the_paper():
    x = values()
    pair = np.array([-1.3, 2.7])
    lowest, highest, scale = nudged(*pair)
    # Equations (3) to (5) for a range: rounding errors inside, 1 for clipped values.
    inside = (x >= lowest) & (x <= highest)
    rounding = np.where(inside, (reference(x, *pair) - x) / scale, 0).sum() / 255
    factor = 1 / np.sqrt(500 * 255)
    expected = factor * np.array(
        [(x < lowest).sum() - rounding, (x > highest).sum() + rounding]
    )

    def summed(pair):
        x32 = keras.ops.cast(x, "float32")
        return keras.ops.sum(learned_fake_quantize(x32, pair[0], pair[1]))

    gradient = backend.gradient(summed, keras.ops.cast(pair, "float32"))
    gradient = keras.ops.convert_to_numpy(gradient)
    np.testing.assert_allclose(gradient, expected, rtol=1e-3)


LAYERS = [
    (layers.Conv1D(3, 2), (8, 2), "kernel", (0, 1)),
    (layers.Conv2D(3, 2), (8, 8, 2), "kernel", (0, 1, 2)),
    (layers.DepthwiseConv2D(2, depth_multiplier=2), (8, 8, 2), "kernel", (0, 1)),
    (layers.Conv2DTranspose(3, 2), (8, 8, 2), "kernel", (0, 1, 3)),
    (layers.SeparableConv2D(3, 2), (8, 8, 2), "depthwise_kernel", (0, 1)),
    (layers.SeparableConv2D(3, 2), (8, 8, 2), "pointwise_kernel", (0, 1, 2)),
    (layers.Dense(3), (4,), "kernel", (0,)),
    (layers.EinsumDense("abc,cde->abde", (None, 2, 5)), (6, 4), "kernel", (0,)),
    (layers.EinsumDense("abde,dec->abc", (None, 5)), (6, 2, 3), "kernel", (0, 1)),
]


@pytest.mark.parametrize(("layer", "shape", "name", "axes"), LAYERS)
def test_kernels_are_rounded_per_output_channel(layer, shape, name, axes):
    layer.build((None, *shape))
    assert reduced_axes(layer, name) == axes
    rng = np.random.default_rng(2)
    kernel = rng.normal(size=getattr(layer, name).shape)
    kernel *= rng.uniform(0.1, 10, size=kernel.shape[-2:])
    kernel[..., 0] = 0  # A dead channel stays dead.
    scale = np.abs(kernel).max(axis=axes, keepdims=True) / 127
    expected = np.round(kernel / np.where(scale == 0, 1, scale)) * scale
    result = rounded_kernel(keras.ops.cast(kernel, "float32"), axes)
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(result), expected, rtol=1e-5, atol=1e-6
    )


def test_gradient_of_a_kernel_is_straight_through():
    kernel = np.random.default_rng(3).normal(size=(5, 4)).astype("float32")
    gradient = backend.gradient(
        lambda x: keras.ops.sum(rounded_kernel(x, (0,), 2.0)),
        keras.ops.convert_to_tensor(kernel),
    )
    np.testing.assert_allclose(keras.ops.convert_to_numpy(gradient), 2.0, rtol=1e-6)
