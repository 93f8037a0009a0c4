import re

import keras
import pytest
from helpers.small_models import cross_entropy, small_cnn

from keras_diffkd import Distiller, LogitsKD
from keras_diffkd.resuming.fingerprints import (
    constant_learning_rate,
    differences,
    model_fingerprint,
)


def compiled(width=4, optimizer=None, **layer):
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(width, **layer), keras.layers.Dropout(0)]
    )
    model.compile(optimizer or keras.optimizers.SGD(0.1), "mse")
    model.optimizer.build(model.trainable_variables)
    return model


def test_the_same_model_made_again_has_the_same_fingerprint():
    first, second = (compiled(optimizer=keras.optimizers.Adam(0.1)) for _ in range(2))
    assert first.layers[0].name != second.layers[0].name
    second.optimizer.learning_rate = 0.01  # As ReduceLROnPlateau does.
    assert differences(model_fingerprint(first), model_fingerprint(second)) == ""


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"width": 5}, r"variables\[0\] was .*kernel float32 \(3, 4\), now .*\(3, 5\)"),
        ({"dtype": "mixed_bfloat16"}, "model .hash of its configuration. was"),
        ({"activation": "relu"}, "model .hash of its configuration. was"),
        ({"use_bias": False}, r"variables\[1\] was sequential/dense/bias"),
        ({"optimizer": keras.optimizers.Adam}, "optimizer variables"),
        (
            {"optimizer": lambda: keras.optimizers.SGD(0.1, clipnorm=1.0)},
            "optimizer .hash",
        ),
    ],
)
def test_what_differs_is_named(other, said):
    if "optimizer" in other:
        other = {"optimizer": other["optimizer"]()}
    found = differences(
        model_fingerprint(compiled()), model_fingerprint(compiled(**other))
    )
    assert re.search(said, found), found


class Unnamed:
    """A loss without a configuration."""

    def __call__(self, y_true, y_pred):
        return keras.ops.mean(y_pred - y_true)


class Other(Unnamed):
    pass


def squared(y_true, y_pred):
    return keras.ops.square(y_pred - y_true)


def top(k):
    return keras.metrics.TopKCategoricalAccuracy(k)


def print_of(**arguments):
    model = compiled()
    model.compile("sgd", **{"loss": "mse", **arguments})
    model.optimizer.build(model.trainable_variables)
    return model_fingerprint(model)


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        ({"loss": "mse"}, {"loss": "mae"}, "loss"),
        ({"loss": "mse"}, {"loss": squared}, "loss"),
        ({"loss": Unnamed()}, {"loss": Other()}, "loss"),
        (
            {"loss": keras.losses.BinaryCrossentropy(label_smoothing=0.0)},
            {"loss": keras.losses.BinaryCrossentropy(label_smoothing=0.1)},
            "loss",
        ),
        ({"loss_weights": [1.0]}, {"loss_weights": [2.0]}, "loss_weights"),
        ({"metrics": [top(1)]}, {"metrics": [top(2)]}, "metrics"),
        ({"weighted_metrics": ["mae"]}, {}, "weighted_metrics"),
    ],
)
def test_another_loss_or_metric_is_named(before, now, said):
    found = differences(print_of(**before), print_of(**now))
    assert re.fullmatch(
        rf"{said} \(hash of what was compiled\) was \w+, now \w+", found
    )


@pytest.mark.parametrize("make", [Unnamed, lambda: squared, keras.losses.Huber])
def test_the_same_loss_made_again_is_the_same(make):
    def metrics():
        return [keras.metrics.MeanAbsoluteError(), keras.metrics.Mean()]

    first, second = (print_of(loss=make(), metrics=metrics()) for _ in range(2))
    assert differences(first, second) == ""


@pytest.mark.filterwarnings("error:The object being serialized")
def test_a_lambda_may_move_to_another_line():
    first = print_of(loss=lambda y, z: keras.ops.mean(z - y))
    second = print_of(loss=lambda y, z: keras.ops.mean(z - y))
    assert differences(first, second) == ""


def test_constant_learning_rates():
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 5)
    scaled = keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(3e-4))
    assert constant_learning_rate(scaled) == 3e-4
    assert constant_learning_rate(keras.optimizers.SGD(schedule)) is None


def test_another_teacher_is_named():
    prints = []
    for _ in range(2):
        keras.utils.set_random_seed(len(prints))
        distiller = Distiller(small_cnn(4), small_cnn(2), [LogitsKD()])
        distiller.compile("sgd", cross_entropy())
        distiller.optimizer.build(distiller.trainable_variables)
        prints.append(model_fingerprint(distiller))
    assert differences(*prints).startswith("teacher (SHA-256 of the weights) was ")
    assert "," not in differences(*prints).replace(", now", "")


def test_hashes_are_shown_as_far_as_they_are_needed():
    assert differences({"x": "a1" * 32}, {"x": "b2" * 32}) == (
        "x was a1a1a1a1a1a1, now b2b2b2b2b2b2"
    )


def test_many_differences_are_counted():
    before, now = ({str(i): {"x": value} for i in range(9)} for value in (1, 2))
    assert differences(before, now).endswith("4.x was 1, now 2, and 4 more")
