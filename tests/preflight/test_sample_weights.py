"""Labels of weight 0 do not affect the loss, so they may be anything finite."""

import keras
import numpy as np
import pytest

from keras_diffkd import Distiller
from keras_diffkd.errors import PreflightError
from keras_diffkd.preflight.sample_weights import with_weight

RNG = np.random.default_rng(0)
X = RNG.normal(size=(30, 6)).astype("float32")
MISSING = np.arange(30) % 5 == 0
BINARY = np.where(MISSING, -1, X[:, 0] > 0).astype("float32")[:, None]
ONE_HOT = np.where(MISSING[:, None], -1, np.eye(3)[X[:, :3].argmax(1)])


@pytest.mark.parametrize(
    ("loss", "y"),
    [
        (keras.losses.BinaryCrossentropy(from_logits=True), BINARY),
        (keras.losses.CategoricalCrossentropy(from_logits=True), ONE_HOT),
    ],
)
@pytest.mark.parametrize("named", [False, True])
def test_missing_labels_have_no_weight(loss, y, named):
    vector = keras.Input((6,))
    outputs = keras.layers.Dense(y.shape[1])(vector)
    if named:
        other = keras.layers.Dense(1)(vector)
        outputs, loss = {"a": outputs, "b": other}, {"a": loss, "b": "mse"}
    made = Distiller(student=keras.Model(vector, outputs))
    made.compile("sgd", loss)
    weight = 1.0 - MISSING
    targets = y
    if named:
        targets, weight = {"a": y, "b": X[:, :1]}, {"a": weight, "b": np.ones(30)}
    logs = made.fit(X, targets, sample_weight=weight, verbose=0).history
    assert np.isfinite(logs["task_loss"]).all()
    with pytest.raises(PreflightError, match="of the training data must"):
        made.preflight(X, targets)


@pytest.mark.parametrize(
    ("shape", "of_weight", "expected"),
    [
        ((4,), (4,), (3,)),
        ((4,), (4, 1), (3,)),
        ((4, 3), (4,), (3, 3)),
        ((4, 5, 3), (4, 5), (19, 3)),
        ((4, 3), (2,), (4, 3)),
    ],
)
def test_with_weight(shape, of_weight, expected):
    weight = np.ones(of_weight)
    weight.flat[0] = 0
    assert with_weight(np.zeros(shape), weight).shape == expected
    assert with_weight(np.zeros(shape), None).shape == shape
