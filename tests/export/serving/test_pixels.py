import keras
import numpy as np
import pytest

from keras_diffkd.export.serving.pixels import Preprocessing, describe_input
from keras_diffkd.export.serving.samples import read_samples
from keras_diffkd.export.serving.serving import Serving

IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}


def test_every_pixel_value_comes_back():
    pixels = np.arange(256, dtype="uint8").repeat(3).reshape(256, 3)
    preprocessing = Preprocessing.of(IMAGENET)

    images = preprocessing.normalize(pixels)

    expected = (pixels / 255 - IMAGENET["mean"]) / IMAGENET["std"]
    assert images.dtype == "float32"
    np.testing.assert_allclose(images, expected, atol=1e-6)
    np.testing.assert_allclose(preprocessing(pixels), expected, atol=1e-5)
    np.testing.assert_array_equal(preprocessing.restore(images), pixels)
    np.testing.assert_array_equal(preprocessing.restore(pixels), pixels)
    # What resizing leaves between two values is rounded.
    between = preprocessing.normalize(pixels[:-1] + 0.4)
    np.testing.assert_array_equal(preprocessing.restore(between), pixels[:-1])


@pytest.mark.parametrize("images", [np.full((2, 3), 128.0), np.array([[0, 0, 256]])])
def test_what_is_no_pixel(images):
    with pytest.raises(ValueError, match="pixels between .*an integer dtype"):
        Preprocessing.of(IMAGENET).restore(images)


@pytest.mark.parametrize(
    "normalization",
    [
        None,
        {},
        {"mean": [0.5]},
        {"mean": ["a"], "std": [1]},
        {"mean": [0.5], "std": [0.0]},
        {"mean": [0.5], "std": [0.5, 0.5]},
        {"mean": [0.5], "std": [0.5], "input_range": [0, 1]},
    ],
)
def test_unusable_normalization(normalization):
    with pytest.raises(ValueError, match="input='float32'.*Received: normalization="):
        Preprocessing.of(normalization)


@pytest.mark.parametrize("shape", [(4,), (6, 6, 2)])
def test_students_of_other_inputs(shape):
    student = keras.Sequential([keras.Input(shape), keras.layers.Dense(2)])
    with pytest.raises(ValueError, match="3 channels.*Received: inputs of shape"):
        Serving(student, normalization=IMAGENET)


def test_serving_of_pixels(student, rng):
    normalization = {"mean": [0.5], "std": [0.25]}
    pixels = rng.integers(0, 256, (8, 6, 6, 2), "uint8")

    serving = Serving(student, normalization=normalization)

    [spec] = serving.inputs
    assert (spec.name, spec.dtype.name) == ("image", "uint8")
    assert [s.dtype.name for s in serving.signature(1, "float32")] == ["float32"]
    images = (pixels / 255.0 - 0.5) / 0.25
    np.testing.assert_allclose(
        serving(pixels)["logits"], student(images, training=False), atol=1e-5
    )
    samples = read_samples(serving, images)
    np.testing.assert_array_equal(samples.inputs["image"], pixels)
    assert read_samples(serving, None).origin == "random: uniform pixels, seed 0"
    assert describe_input(serving) == {
        "dtype": "uint8",
        "range": [0, 255],
        "layout": "NHWC",
        "normalized_by": "artifact",
    }
