import numpy as np
import pytest
from helpers.gradients import value_and_gradients
from reference.keras_side import assert_compiles, gradient_of, value_of

from keras_diffkd.losses import lsh


def test_value_and_gradient(rng):
    teacher, student = 3 * rng.normal(size=(2, 6, 11))
    probability = 1 / (1 + np.exp(-student))
    bits = teacher > 0
    loss = -np.mean(np.where(bits, np.log(probability), np.log(1 - probability)))
    assert value_of(lsh, teacher, student) == pytest.approx(loss, 1e-5)
    np.testing.assert_allclose(
        gradient_of(lsh, teacher, student),
        (probability - bits) / student.size,
        rtol=1e-4,
        atol=1e-8,
    )


def test_large_values_are_finite_and_the_teacher_gets_no_gradient():
    features = np.array([[[1.0, -1.0]], [[-1e4, -1e4]]], "float32")
    loss, (to_teacher, to_student), _ = value_and_gradients(lsh, features)
    assert float(loss) == pytest.approx(5e3)
    assert not np.any(to_teacher)
    assert np.any(to_student)


def test_compiles_and_refuses_other_shapes():
    assert_compiles(lsh)
    with pytest.raises(ValueError, match="same shape"):
        lsh(np.zeros((2, 3)), np.zeros((2, 1)))
