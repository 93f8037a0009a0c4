"""What is legitimate: no error, no warning, and what plain Keras makes of it."""

import keras
import numpy as np
import pytest

from keras_diffkd import Distiller, FitNet

RNG = np.random.default_rng(0)
X = RNG.normal(size=(64, 6)).astype("float32")


def mlp(width, outputs=1, activation=None):
    vector = keras.Input((6,))
    x = keras.layers.Dense(width, activation="relu", name="features")(vector)
    x = keras.layers.Dense(outputs, activation=activation, name="logits")(x)
    return keras.Model(vector, x)


@pytest.mark.parametrize(
    ("loss", "activation", "shape"),
    [
        (keras.losses.BinaryCrossentropy(from_logits=True), None, (64,)),
        (keras.losses.BinaryCrossentropy(), "sigmoid", (64, 1)),
        (keras.losses.BinaryFocalCrossentropy(from_logits=True), None, (64, 1)),
        (keras.losses.Hinge(), None, (64,)),
        ("mse", None, (64,)),
    ],
)
def test_class_weights_of_one_output_are_those_of_keras(loss, activation, shape):
    y = (X[:, 0] > 1).astype("int32").reshape(shape)
    weights = {0: 1.0, 1: 5.0}
    student = mlp(4, activation=activation)
    plain = keras.models.clone_model(student)
    plain.set_weights(student.get_weights())
    plain.compile(keras.optimizers.SGD(0.1), loss)
    expected = plain.fit(X, y, class_weight=weights, shuffle=False, verbose=0)
    made = Distiller(mlp(8), student, [FitNet("features", "features", weight=0.0)])
    made.compile(keras.optimizers.SGD(0.1), loss)
    logs = made.fit(X, y, class_weight=weights, shuffle=False, verbose=0)
    np.testing.assert_allclose(
        logs.history["task_loss"], expected.history["loss"], rtol=1e-5
    )
    for ours, theirs in zip(student.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)
