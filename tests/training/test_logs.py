"""The names in the logs."""

import keras
import numpy as np
import pytest

from keras_diffkd import Distiller, FitNet

X = np.random.default_rng(0).normal(size=(16, 6)).astype("float32")
Y = X[:, :1]


def network():
    vector = keras.Input((6,))
    x = keras.layers.Dense(4, name="features")(vector)
    outputs = {name: keras.layers.Dense(1)(x) for name in ("task", "size")}
    return keras.Model(vector, outputs)


def test_an_output_may_not_have_the_name_of_the_whole_loss():
    made = Distiller(student=network())
    made.compile("sgd", {"task": "mse", "size": "mse"})
    with pytest.raises(ValueError, match="already have 'task_loss'.*Rename"):
        made.fit(X, {"task": Y, "size": Y}, verbose=0)


def test_a_metric_may_not_have_the_name_of_a_loss():
    student = keras.Sequential(
        [keras.Input((6,)), keras.layers.Dense(1, name="features")]
    )
    teacher = keras.models.clone_model(student)
    made = Distiller(teacher, student, [FitNet("features", "features")])
    metric = keras.metrics.MeanSquaredError(name="fitnet/distill")
    made.compile("sgd", "mse", metrics=[metric])
    with pytest.raises(ValueError, match="already have 'fitnet/distill'.*Rename"):
        made.fit(X, Y, verbose=0)
