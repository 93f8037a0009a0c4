import keras
import numpy as np
import pytest
from helpers.gradients import value_and_gradients

from keras_diffkd import FitNet


def test_loss_is_the_error_of_the_projected_feature(rng):
    method = FitNet()
    method.build((None, 4, 4, 6), (None, 4, 4, 3))
    teacher = rng.normal(size=(2, 4, 4, 6)).astype("float32")
    student = rng.normal(size=(2, 4, 4, 3)).astype("float32")
    kernel = np.array(method.projection.kernel)
    projected = student @ kernel + np.array(method.projection.bias)
    np.testing.assert_allclose(
        method.compute_losses(teacher, student)["distill"],
        np.mean((projected - teacher) ** 2),
        rtol=1e-5,
    )


def test_gradients_reach_student_and_projection_alone(rng):
    method = FitNet()
    method.build((None, 6), (None, 3))
    features = [rng.normal(size=(2, n)).astype("float32") for n in (6, 3)]
    _, (to_teacher, to_student), gradients = value_and_gradients(
        lambda *features: method.compute_losses(*features)["distill"], features, method
    )
    assert not np.any(to_teacher)
    assert len(gradients) == 2
    assert all(np.abs(gradient).max() > 0 for gradient in (to_student, *gradients))


def test_grids_that_differ_need_resize(rng):
    with pytest.raises(ValueError, match="4x4 against 8x8"):
        FitNet().build((None, 4, 4, 6), (None, 8, 8, 3))
    method = FitNet(resize="nearest")
    method.build((None, 4, 4, 6), (None, 8, 8, 3))
    loss = method.compute_losses(np.zeros((2, 4, 4, 6)), np.ones((2, 8, 8, 3)))
    assert float(loss["distill"]) > 0


def test_config_round_trip():
    method = FitNet("a", "b", weight=0.3, resize="nearest", name="mine")
    copy = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(method)
    )
    assert copy.get_config() == method.get_config()
