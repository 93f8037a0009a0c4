import keras
import numpy as np
import pytest
from reference.keras_side import randomize

from keras_diffkd.layers import ReparameterizedConv2D

VARIANTS = {
    "plain": {},
    "no bias": {"use_bias": False},
    "strides": {"strides": (2, 1), "padding": "same"},
    "dilation": {"dilation_rate": 2, "padding": "same"},
    "groups": {"groups": 2},
    "activation": {"activation": "relu"},
    "no bias, activation": {"use_bias": False, "activation": "gelu", "strides": 2},
    "kernel of one": {"kernel_size": 1},
}


def convolution(**arguments):
    layer = keras.layers.Conv2D(6, **{"kernel_size": 3, **arguments})
    layer.build((None, 9, 9, 4))
    layer.kernel.assign(np.random.default_rng(2).normal(size=layer.kernel.shape))
    if layer.bias is not None:
        layer.bias.assign(np.random.default_rng(3).normal(size=6))
    return layer


def branched(layer, count=3):
    result = ReparameterizedConv2D(layer.get_config(), count)
    result.build((None, 9, 9, 4))
    result.split(layer, seed=1)
    return result


@pytest.mark.parametrize("variant", VARIANTS)
def test_starts_as_the_convolution(rng, variant):
    layer = convolution(**VARIANTS[variant])
    x = rng.normal(size=(2, 9, 9, 4)).astype("float32")
    ours = branched(layer)
    np.testing.assert_allclose(ours(x, training=False), layer(x), atol=2e-5)
    symbolic = keras.KerasTensor((None, 9, 9, 4))
    assert ours(symbolic).shape == layer(symbolic).shape
    kernels = [np.array(b.conv.kernel) for b in ours.branches]
    assert all(np.abs(k - kernels[0]).max() > 0.1 for k in kernels[1:])


@pytest.mark.parametrize("variant", VARIANTS)
def test_is_one_convolution_at_inference(rng, variant):
    layer = convolution(**VARIANTS[variant])
    ours = branched(layer)
    randomize(ours)
    x = rng.normal(size=(2, 9, 9, 4)).astype("float32")
    expected = np.array(ours(x, training=False))
    ours.merge_into(layer)
    np.testing.assert_allclose(layer(x), expected, rtol=1e-5, atol=1e-5)


def test_branches_are_normalized_in_training(rng):
    ours = branched(convolution())
    x = rng.normal(size=(16, 9, 9, 4)).astype("float32")
    for branch in ours.branches:
        branch.bn.beta.assign(np.zeros(6))
        y = np.array(branch(x, training=True))
        np.testing.assert_allclose(y.mean(axis=(0, 1, 2)), 0, atol=1e-5)
        np.testing.assert_allclose(y.std(axis=(0, 1, 2)), 1, atol=1e-3)
    assert np.abs(ours.branches[0].bn.moving_mean).max() > 0


def test_computes_in_the_policy_of_the_convolution(rng):
    layer = convolution(dtype="mixed_float16")
    ours = branched(layer)
    x = rng.normal(size=(2, 9, 9, 4)).astype("float32")
    y = ours(x)
    dtype_of = keras.backend.standardize_dtype
    assert ours(keras.KerasTensor((None, 9, 9, 4))).dtype == "float16"
    assert dtype_of(y.dtype) == "float16"
    assert dtype_of(ours.branches[0](x).dtype) == "float32"
    assert ours.branches[0].conv.kernel.dtype == layer.kernel.dtype == "float32"
    np.testing.assert_allclose(y, layer(x), rtol=1e-2, atol=2e-2)


def test_regularizers_of_the_convolution_count(rng):
    layer = convolution(kernel_regularizer="l2", activity_regularizer="l1")
    ours = branched(layer, 2)
    x = rng.normal(size=(2, 9, 9, 4)).astype("float32")
    y = np.array(ours(x))
    kernels = [np.array(branch.conv.kernel) for branch in ours.branches]
    expected = 0.01 * sum((k**2).sum() for k in kernels)
    expected += 0.01 * np.abs(y).sum() / len(x)
    np.testing.assert_allclose(sum(ours.losses), expected, rtol=1e-4)


def test_config_and_bad_input():
    ours = branched(convolution(name="conv", trainable=False))
    copy = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(ours)
    )
    assert copy.get_config() == ours.get_config()
    assert copy.name == "conv"
    assert not copy.trainable_variables
    with pytest.raises(ValueError, match="Received: 0"):
        ReparameterizedConv2D(convolution().get_config(), 0)
