import keras
import numpy as np
import pytest
from reference import diffkd_numpy as reference
from reference.keras_side import (
    assert_initial_values,
    assert_matches,
    assert_serializes,
    kernel_shapes,
    randomize,
)

from keras_diffkd.diffusion import NoiseAdapter

CASES = [(3, (4, 5, 5, 8)), (3, (2, 3, 4, 16)), (1, (4, 1, 1, 8)), (1, (4, 2, 3, 5))]
# A sequence, and a map of three dimensions.
OTHER_RANKS = [(3, (4, 7, 16)), (3, (2, 2, 3, 4, 16))]


def _input(shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("kernel_size", "shape"), CASES + OTHER_RANKS)
def test_matches_the_reference(kernel_size, shape, training):
    layer = NoiseAdapter(shape[-1], kernel_size=kernel_size, rank=len(shape) - 2)
    layer(_input(shape))
    assert_matches(
        layer,
        lambda x: layer(x, training=training),
        lambda layers, x: reference.noise_adapter(layers, x, kernel_size, training),
        _input(shape),
        training=training,
    )


def test_architecture():
    layer = NoiseAdapter(16)
    layer.build((None, 5, 5, 16))
    bottleneck = [(16, 2), (3, 3, 2, 2), (2, 16)]
    assert kernel_shapes(layer) == [*bottleneck, (16, 2)]

    layer = NoiseAdapter(5, kernel_size=1)
    layer.build((None, 1, 1, 5))
    assert kernel_shapes(layer) == [(5, 10), (10, 5), (5, 2)]


@pytest.mark.parametrize(("kernel_size", "shape"), CASES)
def test_one_weight_per_sample_between_zero_and_one(kernel_size, shape):
    gamma = NoiseAdapter(shape[-1], kernel_size=kernel_size)(10 * _input(shape))
    assert gamma.shape == shape[:1]
    gamma = np.array(gamma)
    assert np.min(gamma) > 0
    assert np.max(gamma) < 1
    assert np.ptp(gamma) > 0


@pytest.mark.parametrize("kernel_size", [1, 3])
def test_initial_values(kernel_size):
    layer = NoiseAdapter(128, kernel_size=kernel_size)
    layer(_input((1, 4, 4, 128)))
    assert_initial_values(layer, minimum=100)


@pytest.mark.parametrize("kernel_size", [1, 3])
def test_serializes(kernel_size):
    layer = NoiseAdapter(8, kernel_size=kernel_size, name="adapter")
    assert_serializes(layer, lambda layer: layer(_input((4, 5, 5, 8))))
    assert layer.get_config()["channels"] == 8
    assert layer.get_config()["kernel_size"] == kernel_size


@pytest.mark.parametrize("channels", [0, -8])
@pytest.mark.parametrize("kernel_size", [1, 3])
def test_impossible_channels(channels, kernel_size):
    with pytest.raises(ValueError, match=f"channels.*Received.*{channels}"):
        NoiseAdapter(channels, kernel_size=kernel_size)


def test_too_few_channels_for_the_bottleneck():
    with pytest.raises(ValueError, match="channels.*Received.*7"):
        NoiseAdapter(7)
    assert NoiseAdapter(7, kernel_size=1)(_input((4, 1, 1, 7))).shape == (4,)


@pytest.mark.parametrize("kernel_size", [0, 2, 5, "auto", None, (3, 3)])
def test_impossible_kernel_size(kernel_size):
    with pytest.raises(ValueError, match="kernel_size.*Received"):
        NoiseAdapter(8, kernel_size=kernel_size)


@pytest.mark.parametrize("kernel_size", [1, 3])
def test_input_of_other_channels_is_refused(kernel_size):
    with pytest.raises(ValueError, match="6"):
        NoiseAdapter(8, kernel_size=kernel_size)(_input((4, 5, 5, 6)))


def test_saves_and_loads_within_a_model(tmp_path):
    image = keras.Input((5, 5, 8))
    layer = NoiseAdapter(8)
    model = keras.Model(image, layer(image))
    randomize(layer)
    inputs = _input((4, 5, 5, 8))
    keras.saving.save_model(model, tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(inputs), model(inputs))
