import keras
import numpy as np
import pytest

from keras_diffkd.diffusion.noise import normal_noise


def draw(shape, seed=3):
    generator = keras.random.SeedGenerator(seed)
    return [np.array(normal_noise(shape, generator)) for _ in range(2)]


def test_is_standard_normal():
    first, second = draw((64, 8, 8, 32))
    np.testing.assert_array_equal(first, draw((64, 8, 8, 32))[0])
    assert (first != second).all()
    assert (first != draw((64, 8, 8, 32), seed=4)[0]).all()
    values = first.ravel().astype("float64")
    deviation = len(values) ** -0.5
    for power, moment, spread in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        actual = (values**power).mean()
        assert abs(actual - moment) < 4 * spread**0.5 * deviation
    # As rare as they must be: 2.7 and 0.063 of a thousand.
    for limit, share in ((3, 2.7e-3), (4, 6.3e-5)):
        rare = (abs(values) > limit).mean()
        assert abs(rare - share) < 4 * share**0.5 * deviation


def test_positions_and_channels_are_independent():
    first, _ = draw((4096, 6))
    correlations = np.corrcoef(np.concatenate([first, first**2], axis=1).T)
    assert abs(correlations - np.eye(12)).max() < 0.06


@pytest.mark.parametrize("shape", [(3, 1), (2, 5), (1, 2, 3, 7)])
def test_any_number_of_channels(shape):
    noise, _ = draw(shape)
    assert noise.shape == shape
    assert noise.dtype == "float32"
    assert len(np.unique(noise)) == noise.size
