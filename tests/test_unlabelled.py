"""Learning from the teacher alone: `task_loss_weight=0` and no labels."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.small_models import cross_entropy

from keras_diffkd import DKD, Distiller, LogitsKD

RNG = np.random.default_rng(0)
X = RNG.normal(size=(64, 6)).astype("float32")
Y = RNG.integers(0, 3, 64)


def mlp(width):
    vector = keras.Input((6,))
    x = keras.layers.Dense(width, activation="relu", name="features")(vector)
    return keras.Model(vector, keras.layers.Dense(3)(x))


def made(loss=None, weight=0.0, methods=None, **compiled):
    keras.utils.set_random_seed(0)
    methods = [LogitsKD()] if methods is None else methods
    distiller = Distiller(mlp(8), mlp(4), methods, task_loss_weight=weight)
    distiller.compile(keras.optimizers.SGD(0.1), loss, **compiled)
    return distiller


def trained(distiller, *data, **arguments):
    logs = distiller.fit(*data, epochs=2, shuffle=False, verbose=0, **arguments)
    return logs.history, distiller.student.get_weights()


def assert_alike(first, second):
    np.testing.assert_allclose(first[0]["loss"], second[0]["loss"], rtol=1e-6)
    for ours, theirs in zip(first[1], second[1], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("form", ["array", "data set", "generator", "one-tuples"])
@pytest.mark.parametrize("loss", [None, cross_entropy()], ids=["no loss", "loss"])
def test_trains_as_with_labels_of_no_weight(loss, form):
    expected = trained(made(cross_entropy()), X, Y, batch_size=32)
    given = {
        "array": X,
        "data set": tf.data.Dataset.from_tensor_slices(X).batch(32),
        "one-tuples": tf.data.Dataset.from_tensor_slices((X,)).batch(32),
        "generator": ((batch,) for _ in range(2) for batch in np.split(X, 2)),
    }[form]
    arguments = {"steps_per_epoch": 2} if form == "generator" else {}
    arguments |= {"batch_size": 32} if form == "array" else {}
    found = trained(made(loss), given, **arguments)
    assert_alike(found, expected)
    assert set(found[0]) == {"loss", "task_loss", "kd/distill"}
    assert found[0]["task_loss"] == [0.0, 0.0]


def test_validation_data_has_labels_and_logs():
    distiller = made(cross_entropy(), metrics=["accuracy"])
    logs, _ = trained(distiller, X, validation_data=(X, Y))
    assert set(logs) == {
        "loss", "task_loss", "kd/distill", "val_loss", "val_accuracy"
    }  # fmt: skip
    plain = distiller.strip()
    plain.compile("sgd", cross_entropy(), metrics=["accuracy"])
    loss, accuracy = plain.evaluate(X, Y, verbose=0)
    np.testing.assert_allclose(logs["val_loss"][-1], loss, rtol=1e-5)
    np.testing.assert_allclose(logs["val_accuracy"][-1], accuracy, rtol=1e-5)
    # And metrics of validation do not need a loss.
    logs, _ = trained(made(metrics=["accuracy"]), X, validation_data=(X, Y))
    assert logs["val_accuracy"][-1] == pytest.approx(accuracy)


def test_the_step_alone_needs_no_labels_either():
    distiller = made(cross_entropy(), metrics=["accuracy"], preflight=False)
    logs = distiller.train_on_batch(X, return_dict=True)
    assert set(logs) == {"loss", "task_loss", "kd/distill"}


def test_what_needs_labels_says_so():
    with pytest.raises(ValueError, match="needs. Received: y=None.*task_loss_weight=0"):
        made(cross_entropy(), weight=1.0).fit(X, verbose=0)
    with pytest.raises(ValueError, match="Method 'dkd' needs the labels"):
        made(cross_entropy(), methods=[DKD()]).fit(X, verbose=0)
    with pytest.raises(ValueError, match="pass task_loss_weight=0"):
        made(weight=1.0)
    with pytest.raises(ValueError, match="task loss needs labels.*y=None"):
        made(cross_entropy(), weight=1.0, preflight=False).train_on_batch(X)
    with pytest.raises(ValueError, match="loss needs labels to evaluate"):
        made(cross_entropy()).evaluate(X, verbose=0)


@pytest.mark.backend("tensorflow")
def test_a_compiled_step():
    compiled = made(jit_compile=True)
    assert_alike(trained(compiled, X, batch_size=32), trained(made(), X, batch_size=32))
