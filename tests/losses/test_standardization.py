"""Losses of standardized logits (LSKD)."""

import numpy as np
import pytest
from reference import diffkd_numpy as reference
from reference.keras_side import assert_compiles, gradient_of, value_of

from keras_diffkd import losses

LABELS = np.array([0, 4, 2, 2, 1, 3])
LOSSES = {
    "kl": (losses.kl_divergence, reference.kl_divergence, ()),
    "dist": (losses.dist, reference.dist, ()),
    "dkd": (losses.dkd, reference.dkd, (LABELS,)),
}


@pytest.fixture(params=LOSSES)
def pair(request):
    """The loss of the library on standardized logits, and the reference."""
    loss, expected, labels = LOSSES[request.param]

    def ours(teacher, student, temperature=2.0):
        return loss(
            teacher, student, *labels, temperature=temperature, standardize_logits=True
        )

    def theirs(teacher, student, temperature=2.0):
        teacher, student = map(reference.standardized, (teacher, student))
        return expected(teacher, student, *labels, temperature=temperature)

    return ours, theirs


@pytest.fixture
def logits(rng):
    return [size * rng.normal(size=(6, 5)) + 3.0 for size in (4.0, 0.5)]


@pytest.mark.parametrize("temperature", [1.0, 2.0, 4.0, 30.0])
def test_value_and_gradient(pair, logits, temperature):
    ours, theirs = pair
    teacher, student = logits
    assert value_of(ours, *logits, temperature=temperature) == pytest.approx(
        theirs(*logits, temperature), rel=1e-5
    )
    expected = reference.gradient(lambda s: theirs(teacher, s, temperature), student)
    np.testing.assert_allclose(
        gradient_of(ours, *logits, temperature=temperature),
        expected,
        rtol=1e-4,
        atol=1e-5 * np.abs(expected).max(),
    )


def test_a_number_by_hand():
    # Standardized: (-1, 0, 1) and (1, 0, -1); the softmax of temperature 2 is in
    # proportion to (1/a, 1, a), where a = exp(1/2).
    a = np.exp(0.5)
    by_hand = 4 * (a - 1 / a) / (a + 1 + 1 / a)
    rows = [[10.0, 20.0, 30.0]], [[0.3, 0.2, 0.1]]
    actual = value_of(losses.kl_divergence, *rows, 2.0, standardize_logits=True)
    assert actual == pytest.approx(by_hand, rel=1e-5)


def test_shift_and_scale_of_each_row_change_nothing(pair, logits, rng):
    ours, _ = pair
    expected = value_of(ours, *logits)
    scales = np.exp(rng.uniform(-4, 4, (2, 6, 1)))
    shifts = 20 * scales * rng.normal(size=(2, 6, 1))
    moved = scales * np.stack(logits) + shifts
    assert value_of(ours, *moved) == pytest.approx(expected, rel=1e-4)
    # The gradient is across the shift and the scale, so the loss cannot move them.
    slopes = gradient_of(ours, *logits)
    assert np.abs(slopes).max() > 1e-3
    largest = np.abs(slopes).max()
    np.testing.assert_allclose(slopes.sum(-1), 0.0, atol=1e-5 * largest)
    along = (slopes * (logits[1] - logits[1].mean(-1, keepdims=True))).sum(-1)
    np.testing.assert_allclose(along, 0.0, atol=1e-5 * largest)


def test_without_it_the_scale_counts(logits):
    plain = value_of(losses.kl_divergence, logits[0], 9 * logits[0])
    standardized = value_of(
        losses.kl_divergence, logits[0], 9 * logits[0], standardize_logits=True
    )
    assert plain > 0.1
    assert standardized == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("constant", [0.0, 0.1, -7.3, 1e4])
def test_a_row_of_equal_logits_is_finite_and_gets_no_gradient(pair, logits, constant):
    ours, _ = pair
    teacher, student = logits
    student[2] = constant
    assert np.isfinite(value_of(ours, teacher, student))
    slopes = gradient_of(ours, teacher, student)
    assert np.isfinite(slopes).all()
    np.testing.assert_array_equal(slopes[2], 0.0)
    assert (np.abs(slopes[np.arange(6) != 2]).max(-1) > 0).all()
    student[:] = constant
    assert np.isfinite(value_of(ours, student, student))
    np.testing.assert_array_equal(gradient_of(ours, teacher, student), 0.0)


@pytest.mark.parametrize("size", [1e-5, 1e4])
def test_logits_of_extreme_sizes(pair, logits, size):
    ours, theirs = pair
    logits = [size * (x - 3.0) for x in logits]
    assert value_of(ours, *logits) == pytest.approx(theirs(*logits), rel=1e-4)
    assert np.isfinite(gradient_of(ours, *logits)).all()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_halves_are_computed_in_float32(pair, logits, dtype):
    ours, theirs = pair
    # 1/8 steps are exact in both.
    logits = [np.round(8 * x) / 8 for x in logits]
    assert value_of(ours, *logits, dtype=dtype) == pytest.approx(
        theirs(*logits), rel=1e-5
    )


def test_two_classes_are_refused(pair):
    logits = np.array([[1.0, 2.0], [3.0, 1.0]], "float32")
    with pytest.raises(ValueError, match="`standardize_logits=True` needs.*2 classes"):
        losses.kl_divergence(logits, logits, standardize_logits=True)


def test_compiles_for_any_batch_size():
    assert_compiles(
        lambda teacher, student: losses.kl_divergence(
            teacher, student, 2.0, standardize_logits=True
        )
    )
