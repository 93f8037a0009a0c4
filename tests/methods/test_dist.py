"""The methods DIST and DKD; their losses are tested in tests/losses."""

import keras
import numpy as np
import pytest
from helpers.gradients import value_and_gradients

from keras_diffkd import DIST, DKD, DiffKD, losses


@pytest.fixture
def logits(rng):
    return [rng.normal(size=(6, 4)).astype("float32") for _ in range(2)]


def test_dist_is_its_loss_and_spares_the_teacher(logits):
    method = DIST(beta=0.5, gamma=2.0, temperature=3.0, weight=0.7)
    method.build((None, 4), (None, 4))
    loss, (to_teacher, to_student), _ = value_and_gradients(
        lambda *t: method.compute_losses(*t)["distill"], logits
    )
    expected = losses.dist(*logits, beta=0.5, gamma=2.0, temperature=3.0)
    np.testing.assert_allclose(loss, expected, rtol=1e-6)
    assert not np.any(to_teacher)
    assert np.abs(to_student).max() > 0
    assert method.loss_weights == {"distill": 0.7}


def test_dkd_is_its_loss_and_spares_the_teacher(logits):
    labels = np.array([0, 1, 2, 3, 0, 1])
    method = DKD(alpha=0.5, beta=2.0, temperature=3.0)
    method.build((None, 4), (None, 4))
    for targets in (labels, np.eye(4)[labels]):
        loss, (to_teacher, to_student), _ = value_and_gradients(
            lambda *t, y=targets: method.compute_losses(*t, targets=y)["distill"],
            logits,
        )
        expected = losses.dkd(*logits, labels, alpha=0.5, beta=2.0, temperature=3.0)
        np.testing.assert_allclose(loss, expected, rtol=1e-6)
        assert not np.any(to_teacher)
        assert np.abs(to_student).max() > 0


@pytest.mark.parametrize("method", [DIST(beta=2.0, gamma=3.0), DKD(alpha=2.0)])
def test_config_round_trip(method):
    copy = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(method)
    )
    assert copy.get_config() == method.get_config()
    assert not method.variables


@pytest.mark.parametrize("method", [DKD(), DiffKD(distance="dkd")])
def test_labels_are_asked_for(method, logits):
    method.build((None, 4), (None, 4))
    with pytest.raises(ValueError, match="needs the class labels"):
        method.compute_losses(*map(keras.ops.convert_to_tensor, logits))


@pytest.mark.parametrize("method_class", [DIST, DKD])
def test_bad_arguments(method_class):
    with pytest.raises(ValueError, match="temperature=0"):
        method_class(temperature=0)
    with pytest.raises(ValueError, match="number of classes.*10 and 5"):
        method_class().build((None, 10), (None, 5))
    with pytest.raises(ValueError, match="`student_tap` must be None"):
        method_class(student_tap=["a"])
