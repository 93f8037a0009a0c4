"""Behavior that all methods on logits share."""

import json

import keras
import numpy as np
import pytest
from helpers.gradients import value_and_gradients

from keras_diffkd import DIST, DKD, DiffKD, LogitsKD, losses

LABELS = np.array([0, 1, 2, 3, 0, 1])
STANDARDIZING = {
    LogitsKD: losses.kl_divergence,
    DIST: losses.dist,
    DKD: lambda teacher, student, **settings: losses.dkd(
        teacher, student, LABELS, **settings
    ),
}
methods = pytest.mark.parametrize("cls", STANDARDIZING)


@methods
def test_standardizes_both_logits(cls, rng):
    logits = [3 * rng.normal(size=(6, 4)).astype("float32") for _ in range(2)]
    method = cls(temperature=2.0, standardize_logits=True)
    method.build((None, 4), (None, 4))
    loss, (to_teacher, to_student), _ = value_and_gradients(
        lambda *pair: method.compute_losses(*pair, targets=LABELS)["distill"], logits
    )
    expected, plain = (
        float(STANDARDIZING[cls](*logits, temperature=2.0, standardize_logits=value))
        for value in (True, False)
    )
    np.testing.assert_allclose(loss, expected, rtol=1e-6)
    assert abs(expected - plain) > 0.1
    assert not np.any(to_teacher)
    assert np.abs(to_student).max() > 0.01


@pytest.mark.parametrize(
    "method",
    [
        *(cls(standardize_logits=True) for cls in STANDARDIZING),
        DiffKD(distance="dist", standardize_logits=True),
    ],
    ids=lambda method: method.name,
)
def test_config_round_trip(method):
    serialized = json.loads(json.dumps(keras.saving.serialize_keras_object(method)))
    copy = keras.saving.deserialize_keras_object(serialized)
    assert copy.get_config() == method.get_config()
    assert copy.standardize_logits is True
    assert type(method)().standardize_logits is False
    # A file from before there was the argument.
    del serialized["config"]["standardize_logits"]
    old = keras.saving.deserialize_keras_object(serialized)
    assert old.standardize_logits is False


@methods
def test_two_classes_cannot_be_standardized(cls):
    with pytest.raises(ValueError, match="`standardize_logits=True` needs.*2 classes"):
        cls(standardize_logits=True).build((None, 2), (None, 2))
