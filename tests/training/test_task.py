"""Losses are known by what they compute, not by their names or base classes."""

import keras
import numpy as np
import pytest

from keras_diffkd import Distiller, LogitsKD
from keras_diffkd.errors import PreflightError
from keras_diffkd.training.task import loss_kind

CLASSES = 3
X = np.random.default_rng(0).normal(size=(32, 6)).astype("float32")
Y = X[:, :CLASSES].argmax(1).astype("int32")
ONE_HOT = np.eye(CLASSES, dtype="float32")[Y]


class Masked(keras.losses.SparseCategoricalCrossentropy):
    """Takes -1 for a sample without a label."""

    def call(self, y_true, y_pred):
        y_true = keras.ops.cast(y_true, "int32")
        losses = super().call(keras.ops.maximum(y_true, 0), y_pred)
        return losses * keras.ops.cast(y_true >= 0, losses.dtype)


class OfLogits(keras.losses.SparseCategoricalCrossentropy):
    """Applies the softmax itself."""

    def call(self, y_true, y_pred):
        return super().call(y_true, keras.ops.softmax(y_pred))


class Renamed(keras.losses.SparseCategoricalCrossentropy):
    """Computes what its base does."""


def categorical_crossentropy(y_true, y_pred):
    return keras.ops.categorical_crossentropy(y_true, y_pred, from_logits=True)


def classifier():
    return keras.Sequential([keras.Input((6,)), keras.layers.Dense(CLASSES)])


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        ("sparse_categorical_crossentropy", "sparse"),
        ("CategoricalCrossentropy", "categorical"),
        (keras.losses.BinaryFocalCrossentropy, "binary"),
        (keras.losses.CategoricalFocalCrossentropy(name="mine"), "categorical"),
        (keras.losses.binary_crossentropy, "binary"),
        (Renamed(), "sparse"),
        (OfLogits(), None),
        (categorical_crossentropy, None),
        ("no loss of this name", None),
        ("mse", None),
    ],
)
def test_the_kind_of_a_loss(loss, expected):
    assert loss_kind(loss) == expected


@pytest.mark.parametrize(
    ("loss", "y"),
    [
        (Masked(from_logits=True), np.where(np.arange(32) % 5, Y, -1)),
        (OfLogits(), Y),
        (categorical_crossentropy, ONE_HOT),
    ],
)
@pytest.mark.parametrize("preflight", [True, False])
def test_a_loss_of_ones_own_trains_as_in_keras(loss, y, preflight):
    student, plain = classifier(), classifier()
    plain.set_weights(student.get_weights())
    plain.compile(keras.optimizers.SGD(0.1), loss)
    how = {"shuffle": False, "verbose": 0}
    expected = plain.fit(X, y, **how).history["loss"]
    made = Distiller(classifier(), student, [LogitsKD(weight=0.0)])
    made.compile(keras.optimizers.SGD(0.1), loss, preflight=preflight)
    logs = made.fit(X, y, **how).history
    np.testing.assert_allclose(logs["task_loss"], expected, rtol=1e-5)


def nested(kind):
    vector = keras.Input((6,))
    kinds, *sizes = (keras.layers.Dense(size)(vector) for size in (CLASSES, 1, 1))
    outputs = {
        "list in list": [kinds, sizes],
        "list in dict": {"kinds": kinds, "sizes": sizes},
        "dict of one": {"kinds": kinds},
        "list of one": [kinds],
    }[kind]
    return keras.Model(vector, outputs)


SIZES = [X[:, :1], X[:, 1:2]]
SPARSE = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
MSE = ["mse", "mse"]


@pytest.mark.parametrize(
    ("kind", "loss", "y"),
    [
        ("list in list", [SPARSE, MSE], [Y, SIZES]),
        ("list in list", [SPARSE, *MSE], [Y, SIZES]),
        ("list in dict", {"kinds": SPARSE, "sizes": MSE}, {"kinds": Y, "sizes": SIZES}),
        ("dict of one", SPARSE, Y),
        ("dict of one", {"kinds": SPARSE}, {"kinds": Y}),
        ("list of one", SPARSE, Y),
        ("list of one", [SPARSE], [Y]),
    ],
)
def test_outputs_in_structures_train_as_in_keras(kind, loss, y):
    student = nested(kind)
    plain = keras.models.clone_model(student)
    plain.set_weights(student.get_weights())
    plain.compile(keras.optimizers.SGD(0.1), loss)
    how = {"shuffle": False, "verbose": 0}
    expected = plain.fit(X, y, **how).history["loss"]
    made = Distiller(student=student)
    made.compile(keras.optimizers.SGD(0.1), loss)
    np.testing.assert_allclose(made.fit(X, y, **how).history["loss"], expected)


@pytest.mark.parametrize("kind", ["dict of one", "list of one"])
def test_labels_of_the_only_output_are_checked(kind):
    made = Distiller(student=nested(kind))
    made.compile("sgd", SPARSE)
    with pytest.raises(PreflightError, match="Labels must lie in 0 to 2"):
        made.preflight(X, Y + 1)
