import numpy as np
import pytest
from reference.keras_side import gradient_of, value_of

from keras_diffkd.losses import smooth_l1


@pytest.mark.parametrize("beta", [1.0, 0.3])
def test_value_and_gradient(beta):
    teacher, student = np.random.default_rng(0).normal(size=(2, 6, 8))
    gap = student - teacher
    inside = np.abs(gap) < beta
    assert 5 < inside.sum() < 43
    loss = np.where(inside, gap**2 / (2 * beta), np.abs(gap) - beta / 2).mean()
    gradient = np.where(inside, gap / beta, np.sign(gap)) / gap.size

    def ours(teacher, student):
        return smooth_l1(teacher, student, beta)

    assert value_of(ours, teacher, student) == pytest.approx(loss, 1e-5)
    np.testing.assert_allclose(
        gradient_of(ours, teacher, student), gradient, 1e-4, 1e-8
    )


def test_bad_input():
    with pytest.raises(ValueError, match="beta=0"):
        smooth_l1([1.0], [1.0], beta=0)
    with pytest.raises(ValueError, match="same shape"):
        smooth_l1(np.zeros((2, 3)), np.zeros((2, 1)))
