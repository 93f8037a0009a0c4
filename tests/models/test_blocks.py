import keras
import numpy as np
import pytest

from keras_diffkd.models import blocks


def correlate(image, kernel, stride, margin):
    """Convolution of the literature: symmetric zero padding, then valid."""
    size = kernel.shape[0]
    padded = np.pad(image, [(margin, margin), (margin, margin), (0, 0)])
    rows = range(0, padded.shape[0] - size + 1, stride)
    columns = range(0, padded.shape[1] - size + 1, stride)
    return np.array(
        [
            [
                np.tensordot(padded[y : y + size, x : x + size], kernel, 3)
                for x in columns
            ]
            for y in rows
        ]
    )


@pytest.mark.parametrize("size", [8, 7])
@pytest.mark.parametrize(
    ("kernel_size", "stride"), [(1, 1), (1, 2), (3, 1), (3, 2), (7, 2)]
)
def test_convolutions_are_padded_symmetrically(rng, size, kernel_size, stride):
    image = keras.Input((size, size, 2))
    model = keras.Model(image, blocks.conv(image, 3, kernel_size, stride, name="conv"))
    x = rng.normal(size=(size, size, 2)).astype("float32")
    (kernel,) = model.get_layer("conv").get_weights()
    expected = correlate(x, kernel, stride, kernel_size // 2)
    np.testing.assert_allclose(model(x[None])[0], expected, atol=1e-5)


def test_convolutions_are_initialized_by_fan_out():
    image = keras.Input((8, 8, 16))
    x = blocks.conv(image, 64, 3, name="one")
    model = keras.Model(image, blocks.conv(x, 64, 3, name="two"))
    kernel = model.get_layer("two").get_weights()[0]
    assert abs(kernel.std() / np.sqrt(2 / (9 * 64)) - 1) < 0.02
    # Normal, not truncated: some values beyond three deviations.
    assert 0.001 < (np.abs(kernel) > 3 * kernel.std()).mean() < 0.005
    first = model.get_layer("one").get_weights()[0]
    assert not np.isclose(first.ravel()[:100], kernel.ravel()[:100]).any()


def test_batch_normalization_is_that_of_the_literature():
    image = keras.Input((8, 8, 2))
    layer = keras.Model(image, blocks.batch_norm(image, name="bn")).get_layer("bn")
    assert layer.epsilon == 1e-5
    assert layer.momentum == 0.9


def test_classifier_is_initialized_by_fan_in():
    image = keras.Input((2, 2, 400))
    model = blocks.classifier(image, image, 300, name="model")
    for weights in model.get_layer("logits").get_weights():
        assert 0.045 < np.abs(weights).max() <= np.float32(1 / np.sqrt(400))
        assert abs(weights.std() / (0.05 / np.sqrt(3)) - 1) < 0.1
