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

from keras_diffkd.diffusion import Denoiser

CASES = [(3, (4, 5, 5, 8)), (3, (3, 3, 4, 12)), (1, (4, 1, 1, 8)), (1, (4, 2, 3, 5))]
# Sequences, and a map of three dimensions.
OTHER_RANKS = [(3, (4, 7, 8)), (1, (4, 7, 5)), (3, (2, 2, 3, 4, 8))]
TIMESTEPS = np.array([3, 999, 3, 0], "int32")  # 3 twice: its gradients add up.


def _input(shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("kernel_size", "shape"), CASES + OTHER_RANKS)
def test_matches_the_reference(kernel_size, shape, training):
    layer = Denoiser(shape[-1], kernel_size=kernel_size, rank=len(shape) - 2)
    timesteps = TIMESTEPS[: shape[0]]
    layer(_input(shape), timesteps)
    x_gradient, gradients = assert_matches(
        layer,
        lambda x: layer(x, timesteps, training=training),
        lambda layers, x: reference.denoiser(
            layers, x, timesteps, kernel_size, training
        ),
        _input(shape),
        training=training,
    )
    # The embedding is added to every pixel: its gradient is that of the pixels' sum.
    embedding_gradient = gradients[layer.time_embedding.embeddings.path]
    expected = np.zeros((1280, shape[-1]))
    np.add.at(
        expected, timesteps, np.sum(x_gradient, axis=tuple(range(1, len(shape) - 1)))
    )
    np.testing.assert_allclose(embedding_gradient, expected, rtol=1e-4, atol=1e-5)


def test_architecture_for_feature_maps():
    layer = Denoiser(16)
    layer.build((None, 5, 5, 16), (None,))
    bottleneck = [(16, 4), (3, 3, 4, 4), (4, 16)]
    assert kernel_shapes(layer) == [*bottleneck, *bottleneck, (16, 16)]


def test_architecture_for_vectors():
    layer = Denoiser(5, kernel_size=1)
    layer.build((None, 1, 1, 5), (None,))
    assert kernel_shapes(layer) == [(5, 20), (20, 5)] * 2


@pytest.mark.parametrize(("kernel_size", "shape"), [CASES[0], CASES[2]])
def test_output_depends_on_the_timestep(kernel_size, shape):
    layer = Denoiser(shape[-1], kernel_size=kernel_size)
    x = _input(shape)
    early, late = (layer(x, np.full(shape[0], t, "int32")) for t in (0, 999))
    assert early.shape == shape
    assert np.abs(early - late).max() > 1e-3


def test_statistics_move_at_every_call():
    layer = Denoiser(8)
    x = _input((4, 5, 5, 8))
    layer(x, TIMESTEPS)
    statistics = [v for v in layer.non_trainable_variables if "moving" in v.name]
    assert len(statistics) == 14
    for training in (True, False):
        before = [v.numpy() for v in statistics]
        layer(x, TIMESTEPS, training=training)
        moved = [
            np.abs(v.numpy() - b).max() > 0
            for v, b in zip(statistics, before, strict=True)
        ]
        assert all(moved) if training else not any(moved)


@pytest.mark.parametrize(("kernel_size", "shape"), [CASES[0], CASES[2]])
def test_float32_under_a_mixed_policy(kernel_size, shape):
    layer = Denoiser(shape[-1], kernel_size=kernel_size)
    x = _input(shape)
    expected = layer(x, TIMESTEPS, training=True)
    previous = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        mixed = Denoiser(shape[-1], kernel_size=kernel_size)
        mixed(x, TIMESTEPS)
        mixed.set_weights(layer.get_weights())
        actual = mixed(x, TIMESTEPS, training=True)
    finally:
        keras.config.set_dtype_policy(previous)
    assert keras.backend.standardize_dtype(actual.dtype) == "float32"
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kernel_size", [1, 3])
def test_half_precision_features_are_computed_in_float32(kernel_size):
    layer = Denoiser(8, kernel_size=kernel_size)
    x = _input((4, 5, 5, 8)).astype("float16")
    actual = layer(keras.ops.convert_to_tensor(x), TIMESTEPS)
    assert keras.backend.standardize_dtype(actual.dtype) == "float32"
    np.testing.assert_array_equal(actual, layer(x.astype("float32"), TIMESTEPS))


@pytest.mark.parametrize("kernel_size", [1, 3])
def test_initial_values(kernel_size):
    layer = Denoiser(64, kernel_size=kernel_size)
    layer(_input((1, 4, 4, 64)), TIMESTEPS[:1])
    assert_initial_values(layer)
    (embeddings,) = [v.numpy() for v in layer.weights if v.name == "embeddings"]
    assert embeddings.shape == (1280, 64)
    assert embeddings.mean() == pytest.approx(0, abs=0.02)
    assert embeddings.std() == pytest.approx(1, abs=0.01)
    assert np.abs(embeddings).max() > 3  # Not truncated.


def test_two_denoisers_differ_and_a_seed_repeats_them():
    def weights():
        layer = Denoiser(8)
        layer(_input((1, 2, 2, 8)), TIMESTEPS[:1])
        return layer.get_weights()

    def equal(a, b):
        return [np.array_equal(x, y) for x, y in zip(a, b, strict=True) if x.std() > 0]

    keras.utils.set_random_seed(7)
    first, second = weights(), weights()
    assert not any(equal(first, second))
    keras.utils.set_random_seed(7)
    assert all(equal(first, weights()))


@pytest.mark.parametrize("kernel_size", [1, 3])
def test_serializes(kernel_size):
    layer = Denoiser(8, kernel_size=kernel_size, name="phi")
    assert_serializes(layer, lambda layer: layer(_input((4, 5, 5, 8)), TIMESTEPS))
    assert layer.get_config()["channels"] == 8
    assert layer.get_config()["kernel_size"] == kernel_size
    sequence = Denoiser(8, kernel_size=kernel_size, rank=1)
    assert_serializes(sequence, lambda layer: layer(_input((4, 5, 8)), TIMESTEPS))


@pytest.mark.parametrize("channels", [0, -8])
@pytest.mark.parametrize("kernel_size", [1, 3])
def test_impossible_channels(channels, kernel_size):
    with pytest.raises(ValueError, match=f"channels.*Received.*{channels}"):
        Denoiser(channels, kernel_size=kernel_size)


def test_too_few_channels_for_the_bottlenecks():
    with pytest.raises(ValueError, match="channels.*Received.*3"):
        Denoiser(3)
    assert Denoiser(3, kernel_size=1)(_input((4, 1, 1, 3)), TIMESTEPS).shape[-1] == 3


@pytest.mark.parametrize("kernel_size", [0, 2, 5, "auto", None, (3, 3)])
def test_impossible_kernel_size(kernel_size):
    with pytest.raises(ValueError, match="kernel_size.*Received"):
        Denoiser(8, kernel_size=kernel_size)


@pytest.mark.parametrize(
    ("kernel_size", "channels", "received"),
    [(3, 8, 6), (3, 8, 1), (1, 8, 6), (1, 8, 1), (1, 1, 6)],
)
def test_input_of_other_channels_is_refused(kernel_size, channels, received):
    # One channel on either side would broadcast without a word.
    layer = Denoiser(channels, kernel_size=kernel_size)
    with pytest.raises(ValueError, match=f"{received}"):
        layer(_input((4, 5, 5, received)), TIMESTEPS)


def test_saves_and_loads_within_a_model(tmp_path):
    image = keras.Input((5, 5, 8))
    timesteps = keras.Input((), dtype="int32")
    layer = Denoiser(8)
    model = keras.Model([image, timesteps], layer(image, timesteps))
    randomize(layer)
    inputs = [_input((4, 5, 5, 8)), TIMESTEPS]
    keras.saving.save_model(model, tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(inputs), model(inputs))
