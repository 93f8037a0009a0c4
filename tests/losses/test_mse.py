import numpy as np
import pytest
from reference import diffkd_numpy as reference
from reference.keras_side import assert_compiles, gradient_of, value_of

from keras_diffkd.losses import mean_squared_error


@pytest.mark.parametrize("shape", [(4, 5, 5, 8), (4, 9, 8), (4, 8)])
def test_value_and_gradient(shape):
    teacher, student = np.random.default_rng(0).normal(size=(2, *shape))
    loss = reference.mean_squared_error(teacher, student)
    assert value_of(mean_squared_error, teacher, student) == pytest.approx(loss, 1e-5)
    np.testing.assert_allclose(
        gradient_of(mean_squared_error, teacher, student),
        2 * (student - teacher) / student.size,
        rtol=1e-4,
        atol=1e-8,
    )


def test_equal_features_cost_nothing():
    x = np.random.default_rng(0).normal(size=(4, 8))
    assert value_of(mean_squared_error, x, x) == 0.0


def test_float16_is_computed_in_float32():
    teacher = np.full((2, 4), 300.0)
    student = np.full((2, 4), -300.0)  # The square, 360000, overflows float16.
    loss = value_of(mean_squared_error, teacher, student, dtype="float16")
    assert loss == pytest.approx(360_000.0)


@pytest.mark.parametrize(
    "shapes", [((4, 8), (4, 7)), ((4, 8), (4, 1)), ((4, 5, 5, 8), (4, 8))]
)
def test_different_shapes_are_refused(shapes):
    # (4, 8) and (4, 1) would broadcast without a word.
    teacher, student = (np.zeros(shape, "float32") for shape in shapes)
    with pytest.raises(ValueError, match="Received"):
        mean_squared_error(teacher, student)


def test_compiles_for_any_batch_size():
    assert_compiles(mean_squared_error)
