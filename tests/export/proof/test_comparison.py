import numpy as np
import pytest

from keras_diffkd.export.proof.comparison import agreement, compare, is_constant
from keras_diffkd.export.records.results import Measured
from keras_diffkd.export.serving.predictions import Prediction

REFERENCE = {"logits": np.array([[1.0, 0.0], [0.0, 1.0], [2.0, 0.0], [0.5, 0.0]])}


def test_equal_outputs():
    measured, reasons = compare(REFERENCE, REFERENCE, 0.0)
    assert reasons == []
    assert measured == Measured(0.0, 0.0, 1.0)


def test_differences_of_all_outputs_count():
    logits = REFERENCE["logits"]
    reference = {"a": logits, "b": logits}
    outputs = {"a": logits, "b": logits + np.array([[0.0, 0.8], *[[0.0, 0.0]] * 3])}

    measured, reasons = compare(outputs, reference, 0.5)

    assert measured.max_difference == pytest.approx(0.8)
    assert measured.mean_difference == pytest.approx(0.05)
    assert measured.agreement == 1.0
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


def test_saturated_outputs_are_ties():
    """onnxruntime gives 0 and 1 where Keras gives 3e-18 and 1 - 6e-8."""
    reference = {"logits": np.array([[3e-18, 1.0], [1.0, 1 - 6e-8], [2e-9, 1.0]])}
    outputs = {"logits": np.array([[0.0, 1.0], [1.0, 1.0], [0.0, 1.0]])}
    for kind in (Prediction("threshold", 0.5, True), Prediction("class", 0.0, True)):
        measured, reasons = compare(outputs, reference, 1e-4, {"logits": kind})
        assert (measured.agreement, reasons) == (1.0, [])


def test_all_probabilities_of_nearly_zero_are_not_constant():
    reference = {"logits": np.array([[3e-18], [1e-12]])}
    outputs = {"logits": np.zeros((2, 1))}
    kind = {"logits": Prediction("threshold", 0.5, True)}
    assert compare(outputs, reference, 1e-4, kind)[1] == []
    logit = {"logits": Prediction("threshold")}
    assert "constant" in compare(outputs, reference, 1e-4, logit)[1][0]


@pytest.mark.parametrize(("share", "expected"), [(1e-5, True), (0.01, False)])
def test_only_ties_are_no_disagreements(share, expected):
    reference, output = np.array([[1.0 + share, 1.0]]), np.array([[1.0, 1.0 + share]])
    assert agreement(output, reference, Prediction()) == expected
    low, high = np.array([[0.5 - share]]), np.array([[0.5 + share]])
    assert agreement(high, low, Prediction("threshold", 0.5, True)) == expected


def test_numbers_have_no_agreement():
    reference = {"logits": np.array([[1.0], [-1.0]])}
    number = {"logits": Prediction("number")}
    measured, reasons = compare(reference, reference, 1e-4, number)
    assert (measured.agreement, reasons) == (None, [])


def test_one_example_is_not_constant():
    assert not is_constant(np.zeros((1, 3)))


def test_predictions_need_not_agree_where_metrics_decide():
    swapped = {"logits": REFERENCE["logits"][:, ::-1]}
    measured, reasons = compare(swapped, REFERENCE, 9.0, must_agree=False)
    assert reasons == []
    assert measured.agreement == 0.0


@pytest.mark.parametrize(("ties", "num_reasons"), [(4, 0), (5, 1)])
def test_one_in_a_thousand_pixels_may_be_a_tie(ties, num_reasons):
    reference = np.zeros((2, 2000, 3))
    reference[..., 0] = 1e-6
    output = reference.copy()
    output[1, :ties, 1] = 2e-6
    measured, reasons = compare({"logits": output}, {"logits": reference}, 1e-4)
    assert measured.agreement == 1 - ties / 4000
    assert len(reasons) == num_reasons


def test_boxes_predict_no_class():
    logits = REFERENCE["logits"][:, None]
    reference = {"boxes": np.zeros((4, 1, 4)), "cls_logits": logits}
    outputs = {**reference, "boxes": np.full((4, 1, 4), [0, 0, 0, 1e-5])}
    assert compare(outputs, reference, 1e-4) == (
        Measured(1e-5, pytest.approx(1e-5 / 6), 1.0),
        [],
    )


def test_outputs_of_other_names():
    _, reasons = compare({"boxes": np.zeros((4, 2))}, REFERENCE, 1e-4)
    assert reasons == ["outputs are boxes, and the Keras student's logits"]
