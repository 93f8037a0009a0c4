import keras
import numpy as np
import pytest

from keras_diffkd.layers import RandomHyperplanes


@pytest.mark.backend("tensorflow")
@pytest.mark.parametrize("center", ["median", "mean"])
@pytest.mark.parametrize("batch", [8, 7])
def test_center_runs_along(rng, center, batch):
    layer = RandomHyperplanes(4, 5, center=center, momentum=0.6)
    x = rng.normal(size=(3, batch, 4))
    np.testing.assert_allclose(layer(x[0]), x[0] @ np.array(layer.directions), 1e-4)
    assert not layer.trainable_variables
    directions = np.array(layer.directions, "float64")
    observe = layer.observe
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        observe = tf.function(
            layer.observe, input_signature=[tf.TensorSpec((None, 4))], jit_compile=True
        )
    middles = getattr(np, center)(x @ directions, axis=1)
    for step in range(3):
        observe(x[step])
        weights = 0.6 ** np.arange(step, -1, -1)
        expected = weights @ middles[: step + 1] / weights.sum()
        np.testing.assert_allclose(-layer.bias(), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(layer(x[0]), x[0] @ directions - expected, 1e-3, 1e-5)
    np.testing.assert_array_equal(layer.directions, directions.astype("float32"))


def test_directions_are_normal():
    layer = RandomHyperplanes(100, 200, stddev=0.5, seed=1)
    layer.build((None, 100))
    directions = np.array(layer.directions)
    assert directions.std() == pytest.approx(0.5, rel=0.03)
    assert directions.mean() == pytest.approx(0, abs=0.02)


def test_config_and_bad_input():
    layer = RandomHyperplanes(3, 4, center="mean", momentum=0.5, stddev=2.0, seed=3)
    copy = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(layer)
    )
    assert copy.get_config() == layer.get_config()
    for bad, message in (
        ({"num_hyperplanes": 0}, "num_hyperplanes=0"),
        ({"stddev": 0.0}, "stddev=0.0"),
        ({"center": "mode"}, "center='mode'"),
        ({"momentum": 1.0}, "momentum=1.0"),
    ):
        with pytest.raises(ValueError, match=message):
            RandomHyperplanes(**{"features": 3, "num_hyperplanes": 4, **bad})
