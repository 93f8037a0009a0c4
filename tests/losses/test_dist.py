import numpy as np
import pytest
from reference import diffkd_numpy as reference
from reference.keras_side import assert_compiles, gradient_of, value_of

from keras_diffkd.losses import dist


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"beta": 2.0, "gamma": 0.0},
        {"beta": 0.0, "gamma": 2.0},
        {"beta": 0.7, "gamma": 1.3, "temperature": 4.0},
    ],
)
@pytest.mark.parametrize("shape", [(6, 10), (10, 6)])
def test_value_and_gradient(shape, arguments):
    teacher, student = 2 * np.random.default_rng(0).normal(size=(2, *shape))

    def expected(student):
        return reference.dist(teacher, student, **arguments)

    actual = value_of(dist, teacher, student, **arguments)
    assert actual == pytest.approx(expected(student), rel=1e-5)
    gradient = reference.gradient(expected, student)
    np.testing.assert_allclose(
        gradient_of(dist, teacher, student, **arguments),
        gradient,
        rtol=1e-4,
        atol=1e-5 * np.abs(gradient).max(),
    )


def test_against_corrcoef():
    teacher, student = np.random.default_rng(0).normal(size=(2, 5, 7))
    p, q = reference.softmax(teacher), reference.softmax(student)
    rows = np.mean([1 - np.corrcoef(a, b)[0, 1] for a, b in zip(p, q, strict=True)])
    columns = np.mean(
        [1 - np.corrcoef(a, b)[0, 1] for a, b in zip(p.T, q.T, strict=True)]
    )
    loss = value_of(dist, teacher, student, beta=2.0, gamma=3.0)
    assert loss == pytest.approx(2 * rows + 3 * columns, rel=1e-5)


def test_equal_logits_cost_nothing():
    logits = np.random.default_rng(0).normal(size=(4, 8))
    assert value_of(dist, logits, logits) == pytest.approx(0.0, abs=1e-5)


@pytest.mark.parametrize("size", [0.0, 100.0, 1e4])
def test_degenerate_logits_stay_finite(size):
    # Uniform predictions, and one-hot ones with a class that never wins, have a
    # variance of zero somewhere.
    rng = np.random.default_rng(0)
    teacher = size * np.eye(8)[rng.integers(0, 3, 6)]
    student = size * np.eye(8)[rng.integers(0, 3, 6)]
    assert np.isfinite(value_of(dist, teacher, student))
    assert np.isfinite(gradient_of(dist, teacher, student)).all()


def test_float16_is_computed_in_float32():
    teacher, student = np.random.default_rng(0).normal(size=(2, 64, 10))
    teacher, student = teacher.astype("float16"), student.astype("float16")
    actual = value_of(dist, teacher, student, dtype="float16")
    assert actual == pytest.approx(reference.dist(teacher, student), rel=1e-5)


@pytest.mark.parametrize("temperature", [0, -1.0])
def test_temperature_must_be_positive(temperature):
    logits = np.zeros((2, 3), "float32")
    with pytest.raises(ValueError, match="[Tt]emperature"):
        dist(logits, logits, temperature=temperature)


@pytest.mark.parametrize("shapes", [((4, 8), (4, 7)), ((4, 8), (4, 1)), ((8,), (4, 8))])
def test_different_shapes_are_refused(shapes):
    teacher, student = (np.zeros(shape, "float32") for shape in shapes)
    with pytest.raises(ValueError, match="Received"):
        dist(teacher, student)


def test_one_class_is_refused():
    logits = np.zeros((4, 1), "float32")
    with pytest.raises(ValueError, match="class"):
        dist(logits, logits + 1)


def test_every_pixel_of_a_map_is_a_sample():
    teacher, student = np.random.default_rng(0).normal(size=(2, 2, 3, 4, 5))
    expected = reference.dist(teacher.reshape(-1, 5), student.reshape(-1, 5))
    assert value_of(dist, teacher, student) == pytest.approx(expected, rel=1e-5)


def test_compiles_for_any_batch_size():
    assert_compiles(dist)
