import keras
import numpy as np
import pytest
from helpers.gradients import compiled, value_and_gradients

from keras_diffkd.layers import OrthogonalProjection
from keras_diffkd.layers.orthogonal_projection import (
    nearest_orthonormal,
    rotation_from_skew,
)


def deviation(layer):
    matrix = np.array(layer.projection(), "float64")
    if matrix.shape[0] < matrix.shape[1]:
        matrix = matrix.T
    return np.abs(matrix.T @ matrix - np.eye(matrix.shape[1])).max()


@pytest.mark.parametrize("sizes", [(24, 40), (40, 24), (16, 16), (1, 3)])
@pytest.mark.parametrize("learning_rate", [1e-2, 1.0])
def test_stays_orthogonal_and_learns(rng, sizes, learning_rate):
    layer = OrthogonalProjection(*sizes)
    layer.build((None, sizes[0]))
    before = np.array(layer.projection())
    optimizer = keras.optimizers.Adam(learning_rate)
    x = rng.normal(size=(64, sizes[0])).astype("float32")
    target = rng.normal(size=(64, sizes[1])).astype("float32")
    model = keras.Sequential([keras.Input((sizes[0],)), layer])
    model.compile(optimizer, "mse")
    first = model.evaluate(x, target, batch_size=64, verbose=0)
    # In one epoch: 200 of them take ten times as long.
    steps = np.tile(x, (200, 1)), np.tile(target, (200, 1))
    model.fit(*steps, batch_size=64, shuffle=False, verbose=0)
    last = model.evaluate(x, target, batch_size=64, verbose=0)
    assert deviation(layer) < 1e-5
    assert np.abs(np.array(layer.projection()) - before).max() > 0.1
    if learning_rate < 1:
        assert last < first - 0.01
    else:
        # Far longer than any logarithm of a rotation needs to be.
        norm = np.linalg.norm(np.tril(layer.tangent, -1)) * np.sqrt(2)
        assert norm > np.pi * np.sqrt(max(sizes)) or sizes == (1, 3)


def test_rotation_is_the_matrix_exponential(rng):
    lower = np.tril(rng.normal(size=(12, 12)), -1) / np.sqrt(12)
    skew = lower - lower.T
    values, vectors = np.linalg.eigh(1j * skew)
    exponential = (vectors * np.exp(-1j * values)) @ vectors.conj().T
    assert np.abs(exponential.imag).max() < 1e-12
    rotation = rotation_from_skew(keras.ops.cast(skew, "float32"))
    np.testing.assert_allclose(rotation, exponential.real, atol=5e-6)
    np.testing.assert_allclose(
        nearest_orthonormal(rotation), exponential.real, atol=5e-6
    )


def test_wide_layers_are_orthogonal_under_xla():
    layer = OrthogonalProjection(384, 512)
    layer.build((None, 384))
    matrix = np.array(compiled(layer.projection)(), "float64")
    assert np.abs(matrix @ matrix.T - np.eye(384)).max() < 1e-5


def test_gradient_at_the_identity_is_finite():
    layer = OrthogonalProjection(3, 4)
    layer.build((None, 3))
    layer.tangent.assign(np.zeros(layer.tangent.shape))
    _, _, (gradient,) = value_and_gradients(
        lambda: keras.ops.sum(layer.projection()), [], layer
    )
    assert np.isfinite(gradient).all()
    assert np.abs(gradient).max() > 0.1


def test_config_and_bad_input():
    layer = OrthogonalProjection(3, 4, name="mine")
    copy = OrthogonalProjection.from_config(layer.get_config())
    assert copy.get_config() == layer.get_config()
    with pytest.raises(ValueError, match="output_features=0"):
        OrthogonalProjection(3, 0)
    with pytest.raises(ValueError, match="features of 3 channels"):
        layer.build((None, 5))
