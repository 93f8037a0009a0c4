import numpy as np
import pytest

from keras_diffkd.export.comparison import compare, is_constant, predictions

REFERENCE = {"logits": np.array([[1.0, 0.0], [0.0, 1.0], [2.0, 0.0], [0.5, 0.0]])}


def test_equal_outputs():
    measured, reasons = compare(REFERENCE, REFERENCE, 0.0)
    assert reasons == []
    assert measured == {
        "max_difference": 0.0,
        "mean_difference": 0.0,
        "agreement": 1.0,
    }


def test_differences_of_all_outputs_count():
    logits = REFERENCE["logits"]
    reference = {"a": logits, "b": logits}
    outputs = {"a": logits, "b": logits + np.array([[0.0, 0.8], *[[0.0, 0.0]] * 3])}

    measured, reasons = compare(outputs, reference, 0.5)

    assert measured["max_difference"] == pytest.approx(0.8)
    assert measured["mean_difference"] == pytest.approx(0.05)
    assert measured["agreement"] == 1.0
    assert len(reasons) == 1
    assert "out of tolerance" in reasons[0]


@pytest.mark.parametrize(
    ("logits", "reason"),
    [
        (REFERENCE["logits"][:2], "shape (2, 2), expected (4, 2)"),
        (REFERENCE["logits"] * np.nan, "not finite"),
        (REFERENCE["logits"] + np.inf, "not finite"),
        (np.zeros((4, 2)), "constant"),
        (REFERENCE["logits"][:, ::-1], "4 of 4 predictions"),
    ],
)
def test_what_is_wrong(logits, reason):
    _, reasons = compare({"logits": logits}, REFERENCE, 1e-4)
    assert reason in " ".join(reasons)


def test_predictions_of_a_single_logit_are_its_sign():
    output = np.array([[-1.0], [2.0]])
    np.testing.assert_array_equal(predictions(output), [[False], [True]])


def test_one_example_is_not_constant():
    assert not is_constant(np.zeros((1, 3)))
