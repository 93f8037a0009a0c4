import re

import keras
import pytest
from small_models import cross_entropy, small_cnn

from keras_diffkd import Distiller, LogitsKD
from keras_diffkd.callbacks.fingerprints import differences, model_fingerprint


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


def test_many_differences_are_counted():
    before, now = ({str(i): {"x": value} for i in range(9)} for value in (1, 2))
    assert differences(before, now).endswith("4.x was 1, now 2, and 4 more")
