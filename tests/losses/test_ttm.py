import numpy as np
import pytest
from reference import diffkd_numpy as reference
from reference.keras_side import assert_compiles, gradient_of, value_of

from keras_diffkd.losses import kl_divergence, ttm

weightings = pytest.mark.parametrize("weighted", [False, True])


@weightings
@pytest.mark.parametrize("temperature", [0.5, 1.0, 10.0, 100.0])
@pytest.mark.parametrize("shape", [(6, 10), (3, 4, 4, 5), (5, 2)])
def test_value_and_gradient(shape, temperature, weighted):
    teacher, student = 3 * np.random.default_rng(0).normal(size=(2, *shape))

    def expected(student):
        return reference.ttm(teacher, student, temperature, weighted)

    arguments = {"temperature": temperature, "weighted": weighted}
    actual = value_of(ttm, teacher, student, **arguments)
    assert actual == pytest.approx(expected(student), rel=1e-5)
    np.testing.assert_allclose(
        gradient_of(ttm, teacher, student, **arguments),
        reference.gradient(expected, student),
        rtol=1e-4,
        atol=1e-6,
    )


def test_numbers_by_hand():
    # p = (16, 1, 1) / 18 and γ = 1/2: q = (4, 1, 1) / 6 and U = 6 / sqrt(18).
    teacher, student = [[np.log(16.0), 0.0, 0.0]], [[0.0, 0.0, 0.0]]
    divergence = 2 / 3 * np.log(2.0) + 1 / 3 * np.log(0.5)
    assert value_of(ttm, teacher, student, 2.0) == pytest.approx(divergence, rel=1e-5)
    assert value_of(ttm, teacher, student, 2.0, weighted=True) == pytest.approx(
        6 / np.sqrt(18) * divergence, rel=1e-5
    )


@weightings
def test_temperature_1_is_the_plain_divergence(rng, weighted):
    logits = 3 * rng.normal(size=(2, 6, 5))
    assert value_of(ttm, *logits, 1.0, weighted) == pytest.approx(
        value_of(kl_divergence, *logits), rel=1e-5
    )
    np.testing.assert_allclose(
        gradient_of(ttm, *logits, 1.0, weighted),
        gradient_of(kl_divergence, *logits),
        rtol=1e-5,
        atol=1e-7,
    )


def test_the_student_has_no_temperature(rng):
    teacher = 3 * rng.normal(size=(6, 5))
    assert value_of(ttm, teacher, teacher / 10, 10.0) == pytest.approx(0.0, abs=1e-6)
    assert value_of(ttm, teacher, teacher, 10.0) > 0.1


def test_doubts_weigh_more():
    # A certain teacher has the weight 1, one that knows nothing classes^(1 - γ).
    certain, doubtful = [[200.0, 0.0, 0.0, 0.0]], [[0.0, 0.0, 0.0, 0.0]]
    student = [[0.0, 3.0, 0.0, 0.0]]
    for teacher, weight in ((certain, 1.0), (doubtful, 2.0)):
        plain, weighted = (
            value_of(ttm, teacher, student, 2.0, weighted=w) for w in (False, True)
        )
        assert weighted == pytest.approx(weight * plain, rel=1e-5)


@weightings
@pytest.mark.parametrize("temperature", [0.1, 10.0])
@pytest.mark.parametrize("size", [100.0, 65504.0])
def test_extreme_logits_in_float16(size, temperature, weighted, rng):
    logits = (size * rng.uniform(-1, 1, (2, 6, 10))).astype("float16")
    teacher, student = logits.astype("float64")
    arguments = {"temperature": temperature, "weighted": weighted}
    # From the logarithms: the powers of the probabilities leave float64's range.
    log_q = reference.log_softmax(teacher / temperature)
    divergence = np.exp(log_q) * (log_q - reference.log_softmax(student))
    powers = np.exp(reference.log_softmax(teacher) / temperature)
    weights = powers.sum(-1) if weighted else 1.0
    actual = value_of(ttm, *logits, dtype="float16", **arguments)
    assert actual == pytest.approx((weights * divergence.sum(-1)).mean(), rel=1e-4)
    assert np.isfinite(gradient_of(ttm, *logits, **arguments)).all()


@pytest.mark.parametrize("temperature", [0, -1.0])
def test_temperature_must_be_positive(temperature):
    logits = np.zeros((2, 3), "float32")
    with pytest.raises(ValueError, match="[Tt]emperature"):
        ttm(logits, logits, temperature=temperature)


def test_one_class_is_refused():
    logits = np.zeros((4, 1), "float32")
    with pytest.raises(ValueError, match="class"):
        ttm(logits, logits)


@weightings
def test_compiles_for_any_batch_size(weighted):
    assert_compiles(lambda teacher, student: ttm(teacher, student, 10.0, weighted))
