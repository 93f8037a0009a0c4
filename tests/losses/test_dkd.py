import numpy as np
import pytest
from reference import diffkd_numpy as reference
from reference.keras_side import assert_compiles, gradient_of, value_of

from keras_diffkd.losses import dkd


def _batch(shape, size=2.0):
    rng = np.random.default_rng(0)
    teacher, student = (size * rng.normal(size=(2, *shape))).astype("float32")
    return teacher, student, rng.integers(0, shape[-1], shape[:-1])


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"alpha": 1.0, "beta": 0.0, "temperature": 1.0},
        {"alpha": 0.0, "beta": 1.0, "temperature": 1.0},
        {"alpha": 0.5, "beta": 2.0, "temperature": 2.0},
    ],
)
@pytest.mark.parametrize("shape", [(6, 10), (8, 3), (5, 2)])
def test_value_and_gradient(shape, arguments):
    teacher, student, labels = _batch(shape)

    def expected(student):
        return reference.dkd(teacher, student, labels, **arguments)

    actual = value_of(dkd, teacher, student, labels, **arguments)
    assert actual == pytest.approx(expected(student), rel=1e-5, abs=1e-6)
    gradient = reference.gradient(expected, student)
    np.testing.assert_allclose(
        gradient_of(dkd, teacher, student, labels, **arguments),
        gradient,
        rtol=1e-4,
        atol=1e-5 * max(np.abs(gradient).max(), 1e-2),
    )


@pytest.mark.parametrize("label", [0, 3])
def test_kd_is_its_special_case(label):
    # Zhao et al., equation 5: KD = TCKD + (1 - p_target) NCKD.
    teacher, student, _ = _batch((1, 6))
    labels = np.array([label])
    beta = 1.0 - reference.softmax(teacher / 2.0)[0, label]
    loss = value_of(
        dkd, teacher, student, labels, alpha=1.0, beta=float(beta), temperature=2.0
    )
    expected = reference.kl_divergence(teacher, student, 2.0)
    assert loss == pytest.approx(expected, rel=1e-5)


def test_equal_logits_cost_nothing():
    teacher, _, labels = _batch((6, 10))
    assert value_of(dkd, teacher, teacher, labels) == pytest.approx(0.0, abs=1e-5)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
@pytest.mark.parametrize("size", [100.0, 1000.0, 1e4])
def test_extreme_logits(size, temperature):
    teacher, student, labels = _batch((8, 5), size)
    expected = reference.dkd(teacher, student, labels, temperature=temperature)
    actual = value_of(dkd, teacher, student, labels, temperature=temperature)
    assert actual == pytest.approx(expected, rel=1e-4)
    gradient = reference.gradient(
        lambda s: reference.dkd(teacher, s, labels, temperature=temperature), student
    )
    np.testing.assert_allclose(
        gradient_of(dkd, teacher, student, labels, temperature=temperature),
        gradient,
        rtol=1e-3,
        atol=1e-4 * np.abs(gradient).max(),
    )


def test_float16_is_computed_in_float32():
    teacher, student, labels = _batch((64, 10), 20.0)
    teacher, student = teacher.astype("float16"), student.astype("float16")
    actual = value_of(dkd, teacher, student, labels, dtype="float16")
    assert actual == pytest.approx(reference.dkd(teacher, student, labels), rel=1e-5)


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8", "float32"])
def test_labels_of_any_dtype(dtype):
    teacher, student, labels = _batch((6, 10))
    expected = reference.dkd(teacher, student, labels)
    actual = value_of(dkd, teacher, student, labels.astype(dtype))
    assert actual == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("temperature", [0, -1.0])
def test_temperature_must_be_positive(temperature):
    logits, labels = np.zeros((2, 3), "float32"), np.zeros(2, "int32")
    with pytest.raises(ValueError, match="[Tt]emperature"):
        dkd(logits, logits, labels, temperature=temperature)


@pytest.mark.parametrize("shapes", [((4, 8), (4, 7)), ((4, 8), (4, 1)), ((8,), (4, 8))])
def test_different_shapes_are_refused(shapes):
    teacher, student = (np.zeros(shape, "float32") for shape in shapes)
    with pytest.raises(ValueError, match="Received"):
        dkd(teacher, student, np.zeros(4, "int32"))


@pytest.mark.parametrize("shape", [(3,), (1,), (4, 2)])
def test_labels_of_another_shape_are_refused(shape):
    # One label would broadcast over the batch without a word.
    logits = np.zeros((4, 3), "float32")
    with pytest.raises(ValueError, match="Received"):
        dkd(logits, logits, np.zeros(shape, "int32"))


def test_missing_labels_are_refused():
    logits = np.zeros((4, 3), "float32")
    with pytest.raises(ValueError, match="labels=None"):
        dkd(logits, logits, None)


def test_one_hot_labels_and_a_column_of_labels():
    teacher, student, labels = _batch((6, 10))
    expected = reference.dkd(teacher, student, labels)
    for form in (np.eye(10, dtype="float32")[labels], labels[:, None]):
        assert value_of(dkd, teacher, student, form) == pytest.approx(
            expected, rel=1e-5
        )


def test_every_pixel_of_a_map_is_a_sample():
    teacher, student, labels = _batch((2, 3, 4, 5))
    expected = reference.dkd(
        teacher.reshape(-1, 5), student.reshape(-1, 5), labels.ravel()
    )
    actual = value_of(dkd, teacher, student, labels)
    assert actual == pytest.approx(expected, rel=1e-5)


def test_compiles_for_any_batch_size():
    labels = np.random.default_rng(1).integers(0, 5, 3)
    assert_compiles(lambda teacher, student: dkd(teacher, student, labels))


def test_one_class_is_refused():
    logits = np.zeros((4, 1), "float32")
    with pytest.raises(ValueError, match="class"):
        dkd(logits, logits + 1, np.zeros(4, "int32"))
