import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.small_models import cross_entropy, random_batch, small_cnn, weights_of
from PIL import Image

from keras_diffkd import DiffKD, Distiller, LogitsKD
from keras_diffkd.callbacks import FeaturePictures
from keras_diffkd.callbacks.feature_pictures import false_colors

FEW = {"num_inference_steps": 1}


def make_distiller(*methods):
    keras.utils.set_random_seed(0)
    distiller = Distiller(small_cnn(12), small_cnn(8), methods)
    distiller.compile("sgd", cross_entropy())
    return distiller


def test_pictures_and_events_at_the_first_and_every_few_epochs(
    rng, tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, "tensorboard", None)  # It is not needed.
    x, y = random_batch(rng)
    distiller = make_distiller(
        DiffKD("features", "features", latent_channels=8, name="features", **FEW),
        DiffKD(distance="kl", name="logits", **FEW),
        LogitsKD(),
    )
    pictures = FeaturePictures(
        x[:8], tmp_path / "png", every=2, num_images=3, tensorboard=tmp_path / "events"
    )
    distiller.fit(x, y, epochs=4, verbose=0, callbacks=[pictures])

    names = [f"{n}_epoch_000{e}.png" for n in ("features", "logits") for e in (1, 2, 4)]
    assert sorted(path.name for path in (tmp_path / "png").iterdir()) == sorted(names)
    shown = {}
    [file] = (tmp_path / "events").iterdir()
    for record in tf.data.TFRecordDataset(str(file)):
        event = tf.compat.v1.Event.FromString(record.numpy())
        for value in event.summary.value:
            assert value.metadata.plugin_data.plugin_name == "images"
            shown[value.tag, event.step] = value.tensor.string_val[2]
    assert set(shown) == {
        (f"features/{n}", e) for n in ("features", "logits") for e in (1, 2, 4)
    }
    path = tmp_path / "png" / "features_epoch_0004.png"
    assert shown["features/features", 4] == path.read_bytes()
    pixels = np.asarray(Image.open(path).convert("RGB"), "float32")
    # False colors: not a picture in gray.
    assert (np.ptp(pixels, axis=-1) > 50).mean() > 0.05


def test_training_is_the_same_with_and_without_pictures(rng, tmp_path):
    x, y = random_batch(rng)
    weights = []
    for callbacks in ([], [FeaturePictures(x[:8], tmp_path, every=1)]):
        distiller = make_distiller(DiffKD("features", "features", seed=1, **FEW))
        distiller.fit(x, y, epochs=3, verbose=0, shuffle=False, callbacks=callbacks)
        weights.append(weights_of(distiller))
    for without, with_pictures in zip(*weights, strict=True):
        np.testing.assert_array_equal(with_pictures, without)


def test_stages_are_those_of_the_step(rng):
    x, y = random_batch(rng)
    distiller = make_distiller(DiffKD("features", "features", latent_channels=8, **FEW))
    [method] = distiller.methods
    with keras.StatelessScope():
        losses, _ = distiller.compute_training_losses(x, y)
    with keras.StatelessScope():
        _, [(teacher, student)] = distiller.tapped_features(x)
        stages = method.stages(teacher, student)
    assert stages["target"].shape == stages["denoised"].shape == (32, 4, 4, 8)
    stages = {name: np.array(value) for name, value in stages.items()}
    error = np.mean(np.square(stages["denoised"] - stages["target"]))
    np.testing.assert_allclose(error, losses["diffkd/distill"], rtol=1e-5)
    np.testing.assert_allclose(
        np.mean(stages["gamma"]), losses["diffkd/gamma"], rtol=1e-5
    )


@pytest.mark.parametrize("channels", [1, 2, 16])
def test_false_colors_follow_the_main_components_of_the_reference(rng, channels):
    reference = rng.normal(size=(8, 4, 4, channels)) * 2.0 ** np.arange(channels)
    color = false_colors(reference)
    pictures = color(reference)
    assert pictures.shape == (8, 4, 4, 3)
    assert pictures.min() >= 0
    assert pictures.max() <= 1
    red = np.corrcoef(pictures[..., 0].ravel(), reference[..., -1].ravel())[0, 1]
    assert abs(red) > 0.9
    np.testing.assert_allclose(
        color(0 * reference + reference.mean((0, 1, 2))), 0.5, atol=1e-6
    )


def test_bad_input_is_named(rng, tmp_path):
    x, y = random_batch(rng)
    with pytest.raises(ValueError, match="at least 2 samples. Received: 1"):
        FeaturePictures(x[:1], tmp_path)
    with pytest.raises(ValueError, match="every=0"):
        FeaturePictures(x, tmp_path, every=0)
    distiller = make_distiller(LogitsKD())
    with pytest.raises(ValueError, match=r"method that denoises.*\['LogitsKD'\]"):
        distiller.fit(x, y, verbose=0, callbacks=[FeaturePictures(x, tmp_path)])
