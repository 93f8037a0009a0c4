"""Inputs in structures."""

import keras
import numpy as np
import pytest

from keras_diffkd import Distiller
from keras_diffkd.errors import PreflightError

X = np.random.default_rng(0).normal(size=(16, 6)).astype("float32")
Y = X[:, :1]


@pytest.fixture(scope="module")
def distiller():
    a, b, c = (keras.Input((6,), name=name) for name in "abc")
    x = keras.layers.Dense(1)(keras.layers.Add()([a, b, c]))
    made = Distiller(student=keras.Model({"p": [a, b], "q": {"c": c}}, x))
    made.compile("sgd", "mse")
    return made


def test_nested_inputs_train_as_in_keras(distiller):
    x = {"p": [X, X], "q": {"c": X}}
    plain = keras.models.clone_model(distiller.student)
    plain.set_weights(distiller.student.get_weights())
    plain.compile("sgd", "mse")
    expected = plain.fit(x, Y, shuffle=False, verbose=0).history["loss"]
    logs = distiller.fit(x, Y, shuffle=False, verbose=0).history
    np.testing.assert_allclose(logs["loss"], expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ({"p": [X, X], "q": {"d": X}}, "without .'c'"),
        ({"p": [X], "q": {"c": X}}, "takes 2 inputs. Received: 1"),
        ({"p": [X, X[:, :5]], "q": {"c": X}}, "The b of the training data must have"),
        ({"p": [X, X], "q": {"c": [X, X]}}, "takes 1 inputs. Received: 2"),
        ({"p": [X, X], "q": {"c": X * np.nan}}, "The input 'c' .* must be finite"),
    ],
)
def test_wrong_nested_inputs_are_named(distiller, x, message):
    with pytest.raises(PreflightError, match=message):
        distiller.preflight(x, Y)
