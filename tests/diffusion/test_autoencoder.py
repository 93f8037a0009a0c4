import keras
import numpy as np
import pytest
from reference import diffkd_numpy as reference
from reference.keras_side import (
    assert_initial_values,
    assert_matches,
    assert_serializes,
    randomize,
)

from keras_diffkd.diffusion import LinearAutoencoder

SHAPE = (4, 5, 5, 8)


def _input(shape=SHAPE):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def _autoencoder(input_channels=8, latent_channels=3, **kwargs):
    layer = LinearAutoencoder(input_channels, latent_channels, **kwargs)
    layer.build((None, None, None, input_channels))
    return layer


@pytest.mark.parametrize("training", [True, False])
def test_reconstruction_matches_the_reference(training):
    layer = _autoencoder()
    assert_matches(
        layer,
        lambda x: layer.decode(layer.encode(x, training=training)),
        lambda layers, x: reference.autoencode(layers, x, training)[1],
        _input(),
        training=training,
    )


@pytest.mark.parametrize("latent_channels", [1, 3, 8])
def test_shapes(latent_channels):
    layer = _autoencoder(8, latent_channels)
    z = layer.encode(_input(), training=False)
    assert z.shape == (4, 5, 5, latent_channels)
    assert layer.decode(z).shape == SHAPE


def test_latent_is_normalized_in_training_mode():
    z = np.array(_autoencoder().encode(_input(), training=True))
    np.testing.assert_allclose(z.mean((0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(z.var((0, 1, 2)), 1, atol=1e-3)


def test_initial_values():
    assert_initial_values(_autoencoder(256, 128))


def test_serializes():
    layer = LinearAutoencoder(8, 3, name="autoencoder")
    assert_serializes(layer, lambda layer: layer(_input())[1])
    assert layer.get_config()["input_channels"] == 8
    assert layer.get_config()["latent_channels"] == 3


@pytest.mark.parametrize("channels", [0, -8])
def test_impossible_channels(channels):
    with pytest.raises(ValueError, match=f"latent_channels.*Received.*{channels}"):
        LinearAutoencoder(8, channels)
    with pytest.raises(ValueError, match=f"input_channels.*Received.*{channels}"):
        LinearAutoencoder(channels, 3)


def test_call_returns_latent_and_reconstruction():
    layer = randomize(_autoencoder())
    latent, reconstruction = layer(_input())
    np.testing.assert_array_equal(latent, layer.encode(_input(), training=False))
    np.testing.assert_array_equal(reconstruction, layer.decode(latent))


def test_input_of_other_channels_is_refused():
    with pytest.raises(ValueError, match="6"):
        LinearAutoencoder(8, 3)(_input((4, 5, 5, 6)))


def test_saves_and_loads_within_a_model(tmp_path):
    image = keras.Input((5, 5, 8))
    layer = LinearAutoencoder(8, 3)
    model = keras.Model(image, layer(image)[1])
    randomize(layer)
    inputs = _input()
    keras.saving.save_model(model, tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(inputs), model(inputs))
