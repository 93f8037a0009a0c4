"""When an artefact is as good as the Keras student, by its precision."""

import numbers

import numpy as np

from .comparison import NOT_MEASURED, class_scores, compare
from .metrics import compare_metrics, find_losses, measure

TOLERANCE = 1e-4
# Half a point of a metric between 0 and 1.
QUANTIZED_TOLERANCE = 0.005
# Of the largest output: float16 has 11 bits, and layers add up.
FLOAT16_TOLERANCE = 0.01
# Without targets, predictions of quantised students that must be the Keras student's.
MIN_AGREEMENT = 0.9


def check_tolerance(tolerance, name="tolerance"):
    """Raises `ValueError` unless a tolerance can be one.

    Example:

    ```python
    check_tolerance(1e-4)
    ```
    """
    if not isinstance(tolerance, numbers.Real) or not tolerance >= 0:
        raise ValueError(
            f"Expected a tolerance of 0 or more. Received: {name}={tolerance!r}"
        )


def judge(precision, outputs, reference, tolerance, quantized_tolerance):
    """Measures the outputs of an artefact and says what is wrong with them.

    float32 must give the student's outputs within `tolerance`, and its predictions or
    metrics. float16 must give them within 1% of the largest output. Quantised
    artefacts are judged by the task alone: no metric may be lower than the student's
    by more than `quantized_tolerance`; without targets, 90% of the predictions must
    be the student's, and numbers (of regression) must explain 90% of the variance of
    the student's.

    Args:
        precision: as in `Format`.
        outputs: dict of arrays by output name.
        reference: `Reference` of the student.
        tolerance: float.
        quantized_tolerance: float.

    Returns:
        `(measured, reasons, warnings)`: a dict, and two lists of strings.

    Example:

    ```python
    judge("int8", outputs, reference, 1e-4, 0.005)[1]  # []
    ```
    """
    if precision == "float32":
        measured, reasons = _judge_exact(outputs, reference, tolerance)
        return measured, reasons, []
    limit = None
    if precision == "float16":
        limit = FLOAT16_TOLERANCE * max(
            np.abs(output).max() for output in reference.outputs.values()
        )
        limit = max(limit, tolerance)
    return _judge_by_task(outputs, reference, limit, quantized_tolerance)


def _judge_exact(outputs, reference, tolerance):
    measured, reasons = compare(
        outputs,
        reference.outputs,
        tolerance,
        reference.predictions,
        must_agree=reference.metrics is None,
    )
    if measured is NOT_MEASURED:
        return measured, reasons
    values = _measure(outputs, reference)
    if reference.metrics is not None:
        reasons = reasons + compare_metrics(values, reference.values)
    return {**measured, **values}, reasons


def _judge_by_task(outputs, reference, limit, quantized_tolerance):
    measured, reasons = compare(
        outputs, reference.outputs, limit, reference.predictions, must_agree=False
    )
    if measured is NOT_MEASURED:
        return measured, reasons, []
    values = _measure(outputs, reference)
    measured = {**measured, **values}
    if None in values.values():
        share = measured["agreement"]
        if share is not None and share < MIN_AGREEMENT:
            reasons.append(
                f"only {share:.1%} of the predictions are the Keras "
                f"student's; without targets at least {MIN_AGREEMENT:.0%} must be"
            )
        reasons += _judge_numbers(outputs, reference)
        return measured, reasons, ["judged without targets: its metric is not known"]
    lost, warnings = find_losses(values, reference.values, quantized_tolerance)
    return measured, reasons + lost, warnings


def _measure(outputs, reference):
    return measure(
        reference.metrics, outputs, reference.samples.targets, reference.predictions
    )


def _judge_numbers(outputs, reference):
    """Returns which outputs of regression do not follow the student's."""
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
