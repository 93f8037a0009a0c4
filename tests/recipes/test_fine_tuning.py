"""A pretrained teacher, whose weights come from a function and not from a network."""

import types

import keras
import numpy as np
import pytest
from helpers.digit_networks import read_weights

from keras_diffkd.recipes import train_teacher, training
from keras_diffkd.recipes.run.experiment import read_flags
from keras_diffkd.recipes.run.metrics_log import read_metrics


def tiny_net(
    weights="imagenet",
    include_top=True,
    input_shape=None,
    pooling=None,
    classes=1000,
    classifier_activation="softmax",
):
    """An application of Keras, with weights that were trained on something else."""
    assert not include_top
    image = keras.Input(input_shape)
    x = keras.layers.Conv2D(4, 3, padding="same", use_bias=False, name="conv")(image)
    x = keras.layers.BatchNormalization(name="bn")(x)
    x = keras.layers.ReLU(name="last_map")(x)
    model = keras.Model(
        image, keras.layers.GlobalAveragePooling2D()(x), name="tiny_net"
    )
    rng = np.random.default_rng(3)
    for weight in model.weights:
        weight.assign(np.abs(rng.normal(size=weight.shape)) + 0.1)
    return model


PRETRAINED = [np.asarray(w) for w in tiny_net(None, False, (8, 8, 1)).weights]


def to_pixels(pixels):
    """What a module of keras.applications has beside its functions."""
    return pixels / 127.5 - 1.0


@pytest.fixture
def train(parse, tmp_path, data_dir, monkeypatch):
    module = types.ModuleType("tiny")
    module.TinyNet, module.preprocess_input = tiny_net, to_pixels
    monkeypatch.setattr(keras.applications, "TinyNet", tiny_net, raising=False)
    monkeypatch.setattr(keras.applications, "tiny", module, raising=False)
    # Its images have one channel.
    monkeypatch.setattr(
        "keras_diffkd.recipes.networks.with_preprocessing",
        lambda model, preprocess, normalization: in_front(model),
    )

    def train(*arguments):
        parse(
            f"--run_dir={tmp_path / 'run'}",
            f"--data_dir={data_dir}",
            "--dataset=digits",
            "--teacher=applications:TinyNet+imagenet",
            "--steps_per_epoch=4",
            "--epochs=1",
            *arguments,
        )
        train_teacher.main([])
        return tmp_path / "run"

    return train


def in_front(model):
    image = keras.Input(model.input_shape[1:])
    return keras.Model(image, model(keras.layers.Identity(name="colors")(image)))


def test_the_head_first_then_all_of_it(train, recwarn):
    run = train("--head_epochs=2", "--learning_rate=0.1", "--lr_schedule=cosine")
    head, whole = run / "teacher" / "head", run / "teacher"
    [*_, kernel, bias] = read_weights(head / "teacher.keras")
    assert kernel.shape == (4, 10)
    assert np.any(bias), "the head was trained"
    for found, before in zip(
        read_weights(head / "teacher.keras"), PRETRAINED, strict=0
    ):
        np.testing.assert_array_equal(found, before)
    # Then the convolution, but not the statistics of other images.
    last = read_weights(run / "teacher.keras")
    names = ["kernel", "gamma", "beta", "moving_mean", "moving_variance"]
    for name, found, before in zip(names, last, PRETRAINED, strict=False):
        assert np.array_equal(found, before) == (name != "kernel"), name
    rates = [line["learning_rate"] for line in read_metrics(head / "metrics.jsonl")]
    assert rates == pytest.approx([0.1, 0.1])
    [line] = read_metrics(whole / "metrics.jsonl")
    assert line["learning_rate"] < 0.01, "a tenth, which falls"
    assert read_flags(head)["epochs"] == "2"
    assert read_flags(whole)["epochs"] == "1"
    assert not [w for w in recwarn if "has no head" in str(w.message)]


def test_each_part_resumes(train, monkeypatch, capsys):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    arguments = ("--head_epochs=1", "--fine_tune_learning_rate=0.02")
    with monkeypatch.context() as patch:
        patch.setattr(training, "save_model", interrupt)
        with pytest.raises(KeyboardInterrupt):
            train(*arguments)
    run = train(*arguments)
    head = run / "teacher" / "head"
    assert f"Resuming {head} after epoch 1" in capsys.readouterr().out
    before = (head / "teacher.keras").stat().st_mtime_ns
    with pytest.raises(ValueError, match="--fine_tune_learning_rate was 0.02, now"):
        train("--head_epochs=1", "--fine_tune_learning_rate=0.03")
    train(*arguments, "--epochs=2")
    assert (head / "teacher.keras").stat().st_mtime_ns == before
    [_, second] = read_metrics(run / "teacher" / "metrics.jsonl")
    assert second["learning_rate"] == pytest.approx(0.02)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--teacher=digits_teacher", "--head_epochs=3"], "--head_epochs is for a"),
        (["--fine_tune_learning_rate=0"], "--fine_tune_learning_rate must be a"),
    ],
)
def test_refuses_and_writes_nothing(train, tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        train(*arguments)
    assert not (tmp_path / "run").exists()
