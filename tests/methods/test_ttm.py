import keras
import numpy as np
import pytest
from helpers.gradients import value_and_gradients

from keras_diffkd import TTM, losses


@pytest.mark.parametrize("weighted", [False, True])
def test_loss_is_its_function_and_spares_the_teacher(rng, weighted):
    logits = [3 * rng.normal(size=(6, 4)).astype("float32") for _ in range(2)]
    method = TTM(temperature=5.0, weighted=weighted, weight=0.5)
    method.build((None, 4), (None, 4))
    loss, (to_teacher, to_student), _ = value_and_gradients(
        lambda *pair: method.compute_losses(*pair)["distill"], logits
    )
    np.testing.assert_allclose(loss, losses.ttm(*logits, 5.0, weighted), rtol=1e-6)
    assert not np.any(to_teacher)
    assert np.abs(to_student).max() > 0.01
    assert method.loss_weights == {"distill": 0.5}
    assert not method.variables


def test_config_round_trip():
    method = TTM("a", "b", temperature=2.0, weighted=True, weight=0.3, name="mine")
    copy = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(method)
    )
    assert copy.get_config() == method.get_config()
    assert copy.weighted


def test_bad_arguments():
    with pytest.raises(ValueError, match="temperature=-1"):
        TTM(temperature=-1)
    with pytest.raises(ValueError, match="number of classes.*10 and 5"):
        TTM().build((None, 10), (None, 5))
    # Standardized logits would give the student the scale that TTM leaves to it.
    with pytest.raises(TypeError, match="standardize_logits"):
        TTM(standardize_logits=True)
