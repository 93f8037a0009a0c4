import dataclasses

import numpy as np
import pytest

from keras_diffkd.export.proof.judgment import judge
from keras_diffkd.export.proof.metrics import find_losses
from keras_diffkd.export.records.results import Thresholds
from keras_diffkd.export.serving.predictions import Prediction

LOGITS = 10 * np.eye(4)[np.arange(400) % 4]
LABELS = LOGITS.argmax(-1)


@dataclasses.dataclass
class Given:
    """What `judge` reads of a `Reference`."""

    outputs: dict
    values: dict
    samples: object
    predictions: dict = dataclasses.field(
        default_factory=lambda: {"logits": Prediction()}
    )
    metrics: object = None


@dataclasses.dataclass
class Targets:
    targets: object


def judge_logits(precision, logits, targets=LABELS):
    value = None if targets is None else 1.0
    reference = Given({"logits": LOGITS}, {"accuracy": value}, Targets(targets))
    return judge(precision, {"logits": logits}, reference, Thresholds())


def mistaken(count):
    logits = LOGITS.copy()
    logits[:count] = np.roll(logits[:count], 1, axis=-1)
    return logits


@pytest.mark.parametrize(("offset", "num_reasons"), [(0.09, 0), (0.11, 1)])
def test_float16_differs_by_a_hundredth(offset, num_reasons):
    found = judge_logits("float16", LOGITS + offset)
    assert len(found.reasons) == num_reasons
    assert found.measured.max_difference == pytest.approx(offset)
    assert judge_logits("float32", LOGITS + offset).reasons


@pytest.mark.parametrize("precision", ["int8", "dynamic_int8"])
def test_quantized_outputs_are_judged_by_the_metric(precision):
    found = judge_logits(precision, LOGITS * 3)
    assert (found.reasons, found.warnings) == ([], [])
    assert found.measured.max_difference == 20.0

    found = judge_logits(precision, mistaken(2))
    assert found.reasons == []
    assert "'accuracy' is 0.9950, 0.0050 below" in found.warnings[0]
    assert found.measured.agreement == 0.995

    found = judge_logits(precision, mistaken(3))
    [reason] = found.reasons
    assert "0.0075 below" in reason
    assert "allowed is 0.005 (quantized_tolerance)" in reason
    assert found.warnings == []


@pytest.mark.parametrize("logits", [LOGITS * np.nan, LOGITS * 0])
def test_quantized_outputs_must_still_be_outputs(logits):
    assert judge_logits("int8", logits).reasons


@pytest.mark.parametrize(("count", "num_reasons"), [(40, 0), (41, 1)])
def test_without_targets_the_predictions_decide(count, num_reasons):
    found = judge_logits("int8", mistaken(count), targets=None)
    assert len(found.reasons) == num_reasons
    assert "without targets" in found.warnings[0]


def test_what_need_not_follow_the_student_must_still_be_outputs():
    reference = Given({"logits": LOGITS}, {"accuracy": None}, Targets(None))
    for logits, num_reasons in ((mistaken(200), 0), (LOGITS * np.nan, 1)):
        found = judge("int8", {"logits": logits}, reference, Thresholds(), False)
        assert len(found.reasons) == num_reasons


def test_a_better_metric_is_no_loss():
    assert find_losses({"mAP": 0.6}, {"mAP": 0.5}, 0.0) == ([], [])
    [reason], _ = find_losses({"mAP": 0.6}, {"mIoU": 0.5}, 0.0)
    assert "['mAP'] for the artifact" in reason


def test_unusable_tolerance():
    with pytest.raises(ValueError, match="quantized_tolerance=nan"):
        Thresholds.of(1e-4, float("nan"))


@pytest.mark.parametrize(("noise", "num_reasons"), [(0.1, 0), (1.0, 1)])
def test_numbers_without_targets_must_follow_the_students(noise, num_reasons):
    rng = np.random.default_rng(0)
    numbers = rng.standard_normal((400, 1))
    reference = Given(
        {"logits": numbers},
        {"accuracy": None},
        Targets(None),
        {"logits": Prediction("number")},
    )
    outputs = {"logits": numbers + noise * rng.standard_normal((400, 1))}
    found = judge("int8", outputs, reference, Thresholds())
    assert found.measured.agreement is None
    assert len(found.reasons) == num_reasons
    assert all("explains only" in reason for reason in found.reasons)
