import types

import keras
import numpy as np
import pytest

from keras_diffkd.models import pretrained_preprocessing, with_preprocessing

NORMALIZATION = {"mean": [0.5, 0.45, 0.4], "std": [0.2, 0.25, 0.3]}


def identity_network():
    image = keras.Input((4, 4, 3))
    return keras.Model(image, keras.layers.Identity()(image), name="identity")


@pytest.mark.parametrize("name", ["ResNet50", "MobileNetV2", "DenseNet121"])
def test_pretrained_models_see_what_they_were_trained_on(rng, name):
    """The three preprocessings of keras.applications: BGR, -1 to 1, ImageNet's."""
    preprocess = pretrained_preprocessing(f"applications:{name}+imagenet")
    model = with_preprocessing(identity_network(), preprocess, NORMALIZATION)
    pixels = rng.integers(0, 256, (2, 4, 4, 3)).astype("float32")
    mean, std = (np.array(NORMALIZATION[key], "float32") for key in ("mean", "std"))
    np.testing.assert_allclose(
        model((pixels / 255 - mean) / std), preprocess(pixels.copy()), atol=1e-4
    )
    assert not model.trainable_weights


def test_a_model_with_preprocessing_saves_and_keeps_its_taps(tmp_path, rng):
    preprocess = pretrained_preprocessing("applications:ResNet50+imagenet")
    model = with_preprocessing(identity_network(), preprocess, NORMALIZATION)
    assert model.layers[-1].name == "identity"
    model.save(tmp_path / "m.keras")
    x = rng.normal(size=(1, 4, 4, 3)).astype("float32")
    again = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(again(x), model(x))


@pytest.mark.parametrize("scale", [0.5, [0.5, 0.25, 0.125]])
def test_keras_hub_preprocessing(monkeypatch, rng, scale):
    keras_hub = pytest.importorskip("keras_hub")
    converter = types.SimpleNamespace(scale=scale, offset=[1.0, 2.0, 3.0])
    monkeypatch.setattr(
        keras_hub.layers.ImageConverter, "from_preset", lambda preset: converter
    )
    pixels = rng.uniform(0, 255, (1, 2, 2, 3))
    np.testing.assert_allclose(
        pretrained_preprocessing("hub:resnet")(pixels),
        pixels * np.array(scale) + [1.0, 2.0, 3.0],
    )


@pytest.mark.parametrize(
    "spec",
    ["resnet20", "m.keras", "applications:ResNet50", "hub:resnet_50_imagenet+new"],
)
def test_other_models_have_no_preprocessing(spec):
    assert pretrained_preprocessing(spec) is None
