import numpy as np
import pytest
from reference import diffkd_numpy as reference
from reference.keras_side import (
    assert_initial_values,
    assert_matches,
    assert_serializes,
    kernel_shapes,
)

from keras_diffkd.layers import Bottleneck


def _input(shape=(4, 5, 5, 8), scale=1.0):
    return (scale * np.random.default_rng(0).normal(size=shape)).astype("float32")


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    ("shape", "reduction"),
    [
        ((4, 5, 5, 8), 4),
        ((3, 4, 2, 6), 1),
        ((2, 3, 3, 8), 8),
        ((4, 5, 5, 11), 4),  # 11 // 4 = 2 channels inside.
        ((4, 7, 8), 4),  # A sequence.
        ((2, 3, 2, 4, 8), 4),  # A map of three dimensions.
    ],
)
def test_matches_the_reference(shape, reduction, training):
    layer = Bottleneck(shape[-1], reduction, rank=len(shape) - 2)
    layer.build(shape)
    assert_matches(
        layer,
        lambda x: layer(x, training=training),
        lambda layers, x: reference.bottleneck(layers, x, training),
        _input(shape),
        training=training,
    )


@pytest.mark.parametrize(("channels", "inner"), [(8, 2), (11, 2), (4, 1)])
def test_inner_width_is_rounded_down(channels, inner):
    layer = Bottleneck(channels, 4)
    layer.build((None, 5, 5, channels))
    assert kernel_shapes(layer) == [
        (channels, inner),
        (3, 3, inner, inner),
        (inner, channels),
    ]


# On PyTorch, Keras computes variances as E[x^2] - E[x]^2, which cancels here.
@pytest.mark.backend("tensorflow", "jax")
def test_epsilon_counts_for_nearly_constant_features():
    layer = Bottleneck(8, 4)
    layer.build((4, 5, 5, 8))
    assert_matches(
        layer,
        lambda x: layer(x, training=True),
        lambda layers, x: reference.bottleneck(layers, x, True),
        _input(scale=1e-2),
        training=True,
    )


def test_inference_is_the_default():
    layer = Bottleneck(8, 4)
    x = _input()
    layer.build(x.shape)
    np.testing.assert_array_equal(layer(x), layer(x, training=False))
    assert np.abs(layer(x, training=True) - layer(x, training=False)).max() > 1e-3


def test_initial_values():
    layer = Bottleneck(256, 2)
    layer.build((1, 4, 4, 256))
    assert_initial_values(layer)


def test_serializes():
    assert_serializes(Bottleneck(8, 2, name="squeeze"), lambda layer: layer(_input()))
    assert Bottleneck(8, 2).get_config()["channels"] == 8
    assert Bottleneck(8, 2).get_config()["reduction"] == 2
    sequence = Bottleneck(8, 2, rank=1)
    assert_serializes(sequence, lambda layer: layer(_input((4, 5, 8))))


@pytest.mark.parametrize("channels", [0, -8, 3])
def test_impossible_channels(channels):
    with pytest.raises(ValueError, match=f"channels.*Received.*{channels}"):
        Bottleneck(channels, 4)


def test_impossible_rank():
    with pytest.raises(ValueError, match="`rank` must be.*rank=4"):
        Bottleneck(8, 4, rank=4)


@pytest.mark.parametrize("reduction", [0, -1])
def test_impossible_reduction(reduction):
    with pytest.raises(ValueError, match=f"reduction.*Received.*{reduction}"):
        Bottleneck(8, reduction)


def test_input_of_other_channels_is_refused():
    with pytest.raises(ValueError, match="8"):
        Bottleneck(8, 4)(_input((4, 5, 5, 6)))
