"""Several outputs: losses, metrics and targets by name, and the logs of plain Keras."""

import itertools

import keras
import numpy as np
import pytest

from keras_diffkd import Distiller, FitNet

X = np.random.default_rng(0).normal(size=(32, 6)).astype("float32")
CLS, REG = (X[:, 0] > 0).astype("int32"), X[:, :1]


def network(width, kind):
    vector = keras.Input((6,), name="vector")
    x = keras.layers.Dense(width, activation="relu", name="features")(vector)
    cls = keras.layers.Dense(3, name="cls")(x)
    reg = keras.layers.Dense(1, name="reg")(x)
    outputs = [cls, reg] if kind == "list" else {"cls": cls, "reg": reg}
    return keras.Model(vector, outputs)


def arguments(form):
    cross_entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    given = {
        "loss": {"cls": cross_entropy, "reg": "mse"},
        "loss_weights": {"cls": 1.0, "reg": 0.5},
        "metrics": {"cls": ["accuracy"], "reg": ["mae"]},
    }
    if form == "loss alone":
        return {"loss": given["loss"]}
    if form == "lists":
        return {name: list(value.values()) for name, value in given.items()}
    return given


# Plain Keras wants dictionaries for a dictionary of outputs.
@pytest.mark.parametrize(
    ("kind", "form", "targets"),
    [
        *itertools.product(["list"], ["dicts", "lists"], ["named", "listed"]),
        ("list", "loss alone", "named"),
        ("dict", "dicts", "named"),
        ("dict", "loss alone", "named"),
    ],
)
def test_logs_are_those_of_keras(kind, form, targets):
    y = {"cls": CLS, "reg": REG} if targets == "named" else [CLS, REG]
    student = network(4, kind)
    plain = keras.models.clone_model(student)
    plain.set_weights(student.get_weights())
    plain.compile(keras.optimizers.SGD(0.1), **arguments(form))
    how = {"batch_size": 16, "epochs": 2, "shuffle": False, "verbose": 0}
    expected = plain.fit(X, y, validation_data=(X, y), **how).history
    made = Distiller(network(8, kind), student, [FitNet("features", "features")])
    made.methods[0].weight = 1e-9
    made.compile(keras.optimizers.SGD(0.1), **arguments(form))
    logs = made.fit(X, y, validation_data=(X, y), **how).history
    ours = {name for name in logs if name not in ("task_loss", "fitnet/distill")}
    assert ours == set(expected)
    for name in ours:
        np.testing.assert_allclose(logs[name], expected[name], rtol=1e-4, err_msg=name)
    evaluated = made.evaluate(X, y, verbose=0, return_dict=True)
    for name, value in plain.evaluate(X, y, verbose=0, return_dict=True).items():
        np.testing.assert_allclose(evaluated[name], value, rtol=1e-4, err_msg=name)


@pytest.mark.parametrize("kind", ["list", "dict"])
def test_labels_are_checked_by_name(kind):
    made = Distiller(student=network(4, kind))
    made.compile("sgd", **arguments("dicts"))
    y = {"cls": CLS, "reg": REG}
    assert made.preflight(X, y).errors == []
    with pytest.raises(ValueError, match="0 to 2: the student has 3 classes"):
        made.preflight(X, {**y, "cls": CLS + 5})
    with pytest.raises(ValueError, match="no targets of the output '?cls"):
        made.preflight(X, {"reg": REG})
