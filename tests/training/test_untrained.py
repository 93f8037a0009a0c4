"""Weights that no loss depends on are named once, and everything else trains."""

import re
import warnings

import keras
import numpy as np
import pytest

from keras_diffkd import Distiller, FitNet

L = keras.layers


def network(width, unused=False):
    inputs = keras.Input((6,))
    x = L.Dense(width, activation="relu", name="features")(inputs)
    model = keras.Model(inputs, L.Dense(3)(x))
    if unused:
        model.spare = L.Dense(2, name="spare")
        model.spare.build((None, width))
    return model


def fit(student, epochs=1, teacher=None):
    distiller = Distiller(
        teacher or network(8), student, [FitNet("features", "features")]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    distiller.compile(keras.optimizers.SGD(0.1, momentum=0.9), loss)
    x = np.random.default_rng(0).normal(size=(32, 6)).astype("float32")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(2):
            distiller.fit(x, np.arange(32) % 3, epochs=epochs, verbose=0)
    return [str(w.message) for w in caught if "gradient" in str(w.message).lower()]


@pytest.mark.backend("tensorflow", "torch")
def test_weights_without_a_gradient_are_named_once():
    student = network(4, unused=True)
    before = [v.numpy().copy() if hasattr(v, "numpy") else v for v in student.weights]
    (text,) = fit(student, epochs=2)
    assert re.match(r"2 of the 8 trainable weights get no gradient", text)
    assert "'spare/kernel'" in text
    assert "'spare/bias'" in text
    moved = [
        np.abs(np.asarray(after) - old).max() > 0
        for after, old in zip(student.get_weights(), before, strict=True)
    ]
    assert moved == [True] * 4 + [False] * 2


def test_nothing_is_said_where_every_weight_trains():
    assert fit(network(4)) == []


def test_frozen_layers_are_not_named():
    student = network(4, unused=True)
    student.spare.trainable = False
    assert fit(student) == []
