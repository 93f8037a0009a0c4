import keras
import numpy as np
import pytest
from reference import diffkd_numpy as reference
from reference.keras_side import assert_compiles, gradient_of, value_of

from keras_diffkd.losses import kl_divergence

TEMPERATURES = [0.5, 1.0, 4.0]


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("shape", [(6, 10), (3, 4, 4, 5), (5, 2)])
def test_value_and_gradient(shape, temperature):
    teacher, student = 3 * np.random.default_rng(0).normal(size=(2, *shape))

    def expected(student):
        return reference.kl_divergence(teacher, student, temperature)

    actual = value_of(kl_divergence, teacher, student, temperature=temperature)
    assert actual == pytest.approx(expected(student), rel=1e-5)
    np.testing.assert_allclose(
        gradient_of(kl_divergence, teacher, student, temperature=temperature),
        reference.gradient(expected, student),
        rtol=1e-4,
        atol=1e-7,
    )


def test_number_from_the_literature():
    # tau^2 KL, written down by hand: see Hinton et al., equation 4.
    teacher, student = [[5.0, 0.0, 0.0, 0.0]], [[0.0, 5.0, 0.0, 0.0]]
    p = np.exp(np.array(teacher[0]) / 3) / np.exp(np.array(teacher[0]) / 3).sum()
    by_hand = 9 * (p[0] * 5 / 3 - p[1] * 5 / 3)
    assert value_of(kl_divergence, teacher, student, temperature=3.0) == pytest.approx(
        by_hand, rel=1e-5
    )
    assert by_hand == pytest.approx(7.766, abs=1e-3)


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_shifted_logits_cost_nothing(temperature):
    teacher = np.random.default_rng(0).normal(size=(4, 8))
    student = teacher + 7.0
    loss = value_of(kl_divergence, teacher, student, temperature=temperature)
    assert loss == pytest.approx(0.0, abs=1e-5)


def test_not_symmetric():
    teacher, student = 3 * np.random.default_rng(0).normal(size=(2, 4, 8))
    forward = value_of(kl_divergence, teacher, student)
    assert abs(forward - value_of(kl_divergence, student, teacher)) > 0.01


@pytest.mark.parametrize("temperature", [1.0, 4.0])
@pytest.mark.parametrize("size", [100.0, 1000.0, 1e4])
def test_extreme_logits(size, temperature):
    rng = np.random.default_rng(0)
    teacher, student = size * rng.choice([-1.0, 1.0], (2, 6, 5))
    teacher[0], student[0] = [size, 0, 0, 0, 0], [-size, 0, 0, 0, size]
    expected = reference.kl_divergence(teacher, student, temperature)
    assert expected > 1.0
    actual = value_of(kl_divergence, teacher, student, temperature=temperature)
    assert actual == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(
        gradient_of(kl_divergence, teacher, student, temperature=temperature),
        reference.gradient(
            lambda s: reference.kl_divergence(teacher, s, temperature), student
        ),
        rtol=1e-4,
        atol=1e-7,
    )


def test_float16_is_computed_in_float32():
    rng = np.random.default_rng(0)
    teacher, student = (30 * rng.normal(size=(2, 64, 10))).astype("float16")
    expected = reference.kl_divergence(teacher, student, 4.0)
    actual = value_of(kl_divergence, teacher, student, dtype="float16", temperature=4.0)
    assert actual == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("temperature", [1e-3, 4.0, 20.0, 1e3, 1e5])
@pytest.mark.parametrize("size", [1.0, 100.0, 65504.0])
def test_extreme_temperatures_and_the_largest_float16_logits(size, temperature):
    rng = np.random.default_rng(0)
    teacher, student = (size * rng.uniform(-1, 1, (2, 6, 10))).astype("float16")
    teacher[0, 0], student[0, 0] = size, -size
    actual = value_of(
        kl_divergence, teacher, student, dtype="float16", temperature=temperature
    )
    expected = reference.kl_divergence(teacher, student, temperature)
    assert actual == pytest.approx(expected, rel=1e-5)
    gradient = reference.gradient(
        lambda s: reference.kl_divergence(teacher, s, temperature), student
    )
    np.testing.assert_allclose(
        gradient_of(kl_divergence, teacher, student, temperature=temperature),
        gradient,
        rtol=1e-4,
        atol=1e-5 * np.abs(gradient).max(),
    )


@pytest.mark.parametrize("temperature", [1.0, 1e5])
def test_equal_logits_cost_nothing_and_pull_nowhere(temperature):
    logits = np.random.default_rng(0).normal(size=(4, 8)).astype("float32")
    arguments = (kl_divergence, logits, logits)
    assert value_of(*arguments, temperature=temperature) == pytest.approx(0, abs=1e-6)
    gradient = gradient_of(*arguments, temperature=temperature)
    np.testing.assert_allclose(gradient, 0.0, atol=1e-6 * temperature)


def test_negative_logits_are_not_clipped_as_keras_s_default_does():
    teacher = keras.ops.array([[5.0, 0.0, 0.0, 0.0]])
    student = np.array([[0.0, 5.0, 0.0, 0.0]])
    keras_loss = keras.distillation.LogitsDistillation(temperature=3.0)
    found = {}
    for name, loss in (
        ("keras", keras_loss.compute_loss),
        ("ours", lambda teacher, student: kl_divergence(teacher, student, 3.0)),
    ):
        gradient = gradient_of(
            lambda _, s, loss=loss: loss(teacher, s), student, student
        )
        found[name] = value_of(loss, teacher, student), np.abs(gradient).max()
    assert found["keras"] == (pytest.approx(16.118, abs=1e-3), 0.0)
    assert found["ours"] == (
        pytest.approx(7.766, abs=1e-3),
        pytest.approx(1.553, abs=1e-3),
    )
    down = -np.roll(student, -1), -student
    assert value_of(kl_divergence, *down, temperature=3.0) == pytest.approx(
        reference.kl_divergence(*down, 3.0), rel=1e-6
    )


@pytest.mark.parametrize("temperature", [0, 0.0, -1.0])
def test_temperature_must_be_positive(temperature):
    logits = np.zeros((2, 3), "float32")
    with pytest.raises(ValueError, match="[Tt]emperature"):
        kl_divergence(logits, logits, temperature=temperature)


@pytest.mark.parametrize("shapes", [((4, 8), (4, 7)), ((4, 8), (4, 1)), ((8,), (4, 8))])
def test_different_shapes_are_refused(shapes):
    teacher, student = (np.zeros(shape, "float32") for shape in shapes)
    with pytest.raises(ValueError, match="Received"):
        kl_divergence(teacher, student)


def test_one_class_is_refused():
    # The softmax over one class is 1: the loss would be silently zero.
    logits = np.zeros((4, 1), "float32")
    with pytest.raises(ValueError, match="class"):
        kl_divergence(logits, logits + 1)


def test_compiles_for_any_batch_size():
    assert_compiles(kl_divergence)
