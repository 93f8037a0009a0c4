import keras
import numpy as np
import pytest
from helpers.gradients import value_and_gradients

from keras_diffkd import LogitsKD


def test_loss_is_the_scaled_divergence_and_spares_the_teacher():
    method = LogitsKD(temperature=3.0, weight=0.5)
    method.build((None, 4), (None, 4))
    logits = np.array([[[5.0, 0, 0, 0]], [[0, 5.0, 0, 0]]], "float32")
    loss, (to_teacher, to_student), _ = value_and_gradients(
        lambda *logits: method.compute_losses(*logits)["distill"], logits
    )
    np.testing.assert_allclose(loss, 7.766, atol=1e-3)
    assert not np.any(to_teacher)
    assert np.abs(to_student).max() > 0.1
    assert method.loss_weights == {"distill": 0.5}
    assert not method.variables


def test_config_round_trip():
    method = LogitsKD("a", "b", temperature=2.0, weight=0.3, name="mine")
    copy = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(method)
    )
    assert copy.get_config() == method.get_config()


def test_bad_arguments():
    with pytest.raises(ValueError, match="temperature=-1"):
        LogitsKD(temperature=-1)
    with pytest.raises(ValueError, match="number of classes.*10 and 5"):
        LogitsKD().build((None, 10), (None, 5))
    with pytest.raises(ValueError, match="`student_tap` must be None"):
        LogitsKD(student_tap=["a"])
