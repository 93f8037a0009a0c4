"""Decides whether an artifact is as good as the Keras student."""

import dataclasses

import numpy as np

from ..records.results import Measured, Thresholds
from .comparison import class_scores, compare
from .metrics import compare_metrics, find_losses, measure

MIN_AGREEMENT = Thresholds.agreement_without_targets


@dataclasses.dataclass(frozen=True)
class Judgment:
    """The verdict on the outputs of an artifact.

    Attributes:
        reasons: list of str: what is wrong with them.
        warnings: list of str.
        measured: `Measured`.
        metrics: dict of float by name; None: not measured.

    Example:

    ```python
    Judgment(["out of tolerance"]).metrics  # {}
    ```
    """

    reasons: list
    warnings: list = dataclasses.field(default_factory=list)
    measured: Measured = Measured()
    metrics: dict = dataclasses.field(default_factory=dict)


def judge(precision, outputs, reference, thresholds, must_follow=True):
    """Measures the outputs of an artifact and gives reasons against them.

    float32 must give the student's outputs within `tolerance`, and its predictions or
    metrics. float16 must give them within 1% of the largest output. Quantized
    artifacts are judged by the task alone: no metric may be lower than the student's
    by more than `quantized_tolerance`; without targets, 90% of the predictions must
    be the student's, and numbers (of regression) must explain 90% of the variance of
    the student's.

    Args:
        precision: as in `Format`.
        outputs: dict of arrays by output name.
        reference: `Reference` of the student.
        thresholds: `Thresholds`.
        must_follow: bool, whether a quantized artifact that is judged without targets
            must give the student's predictions.

    Returns:
        `Judgment`.

    Example:

    ```python
    judge("int8", outputs, reference, Thresholds()).reasons  # []
    ```
    """
    if precision == "float32":
        return _judge_exact(outputs, reference, thresholds.tolerance)
    limit = None
    if precision == "float16":
        limit = thresholds.float16_tolerance * max(
            np.abs(output).max() for output in reference.outputs.values()
        )
        limit = max(limit, thresholds.tolerance)
    tolerance = thresholds.quantized_tolerance
    return _judge_by_task(outputs, reference, limit, tolerance, must_follow)


def _judge_exact(outputs, reference, tolerance):
    measured, reasons = compare(
        outputs,
        reference.outputs,
        tolerance,
        reference.predictions,
        must_agree=reference.metrics is None,
    )
    if measured is None:
        return Judgment(reasons)
    values = _measure(outputs, reference)
    if reference.metrics is not None:
        reasons = reasons + compare_metrics(values, reference.values)
    return Judgment(reasons, [], measured, values)


def _judge_by_task(outputs, reference, limit, quantized_tolerance, must_follow):
    measured, reasons = compare(
        outputs, reference.outputs, limit, reference.predictions, must_agree=False
    )
    if measured is None:
        return Judgment(reasons)
    values = _measure(outputs, reference)
    if None in values.values():
        if not must_follow:
            warning = "judged by its simulation alone: random inputs exceed its ranges"
            return Judgment(reasons, [warning], measured, values)
        share = measured.agreement
        if share is not None and share < MIN_AGREEMENT:
            reasons.append(
                f"only {share:.1%} of the predictions are the Keras "
                f"student's; without targets at least {MIN_AGREEMENT:.0%} must be"
            )
        reasons += _judge_numbers(outputs, reference)
        warning = "judged without targets, so its metric is unknown"
        return Judgment(reasons, [warning], measured, values)
    lost, warnings = find_losses(values, reference.values, quantized_tolerance)
    return Judgment(reasons + lost, warnings, measured, values)


def _measure(outputs, reference):
    return measure(
        reference.metrics, outputs, reference.samples.targets, reference.predictions
    )


def _judge_numbers(outputs, reference):
    """Returns reasons against regression outputs that do not follow the student's."""
    reasons = []
    for name, expected in class_scores(reference.outputs).items():
        if reference.predictions[name].kind != "number":
            continue
        expected = expected.astype("float64")
        spread = np.sum((expected - expected.mean(axis=0)) ** 2)
        share = 1 - np.sum((outputs[name] - expected) ** 2) / spread if spread else 1.0
        if share < MIN_AGREEMENT:
            reasons.append(
                f"output '{name}' explains only {max(share, 0):.1%} of the variance of "
                "the Keras student's; without targets at least "
                f"{MIN_AGREEMENT:.0%} must be"
            )
    return reasons
