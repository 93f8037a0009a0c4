"""Compares the task's metrics of an artifact with the Keras student's."""

import math
import numbers

from ..records.results import ArtifactResult, Thresholds
from ..serving.predictions import Prediction

TOLERANCE = Thresholds.metric_tolerance
# Keys of the report that are not metrics.
_TAKEN = {*ArtifactResult("", 0, "", "").to_json(), "parameters", "simulation"}


def measure(metrics, outputs, targets, predictions=None):
    """Returns the metrics of outputs as a dict of floats.

    Args:
        metrics: callable `(outputs, targets) -> dict`, or None for the accuracy.
        outputs: dict of arrays by output name; first axis: examples.
        targets: structure of arrays; integer labels or None for the accuracy.
        predictions: dict of `Prediction`s by output name; None for classes.

    Raises:
        ValueError: if the callable does not return finite numbers by name.

    Example:

    ```python
    measure(None, {"logits": np.eye(2)}, np.array([0, 0]))  # {"accuracy": 0.5}
    ```
    """
    if metrics is None:
        return {"accuracy": accuracy(outputs, targets, predictions)}
    values = metrics(outputs, targets)
    if not isinstance(values, dict) or not values:
        raise ValueError(
            "Expected `metrics(outputs, targets)` to return a dict of at least one "
            f"float by name. Received: {values!r} of type {type(values).__name__}"
        )
    for name, value in values.items():
        _check_name(name)
        _check_value(name, value)
    return {name: float(value) for name, value in values.items()}


def check_metrics(metrics):
    """Raises unless `metrics` is None or a callable for `measure`.

    Raises:
        ValueError: if it is neither None nor callable.

    Example:

    ```python
    check_metrics(lambda outputs, targets: {"mean": float(outputs["y"].mean())})
    ```
    """
    if metrics is not None and not callable(metrics):
        raise ValueError(
            "Expected `metrics` to be None or a callable (outputs, targets) -> "
            f"dict of floats. Received: {metrics!r} of type {type(metrics).__name__}"
        )


def compare_metrics(values, reference):
    """Returns which metrics are not the Keras student's, as a list of reasons.

    Args:
        values: dict of floats of an artifact.
        reference: the same of the student.

    Example:

    ```python
    compare_metrics({"mAP": 0.5}, {"mAP": 0.5001})  # []
    ```
    """
    if set(values) != set(reference):
        return [
            f"`metrics` returned {sorted(values)} for the artifact and "
            f"{sorted(reference)} for the Keras student"
        ]
    return [
        f"metric '{name}' is {value:.4f} and the Keras student's "
        f"{reference[name]:.4f}: more than {TOLERANCE} apart"
        for name, value in values.items()
        if abs(value - reference[name]) > TOLERANCE + 1e-9  # Of rounding.
    ]


def find_losses(values, reference, tolerance):
    """Returns which metrics are lower than the Keras student's, and by too much.

    Args:
        values: dict of floats of an artifact, of which more is better.
        reference: the same of the student.
        tolerance: float, by how much they may be lower.

    Returns:
        `(reasons, warnings)`: lists of those that lost more, and less.

    Example:

    ```python
    find_losses({"mAP": 0.5}, {"mAP": 0.5}, 0.005)  # ([], [])
    ```
    """
    if set(values) != set(reference):
        return compare_metrics(values, reference), []
    reasons, warnings = [], []
    for name, value in values.items():
        lost = reference[name] - value
        text = (
            f"metric '{name}' is {value:.4f}, {lost:.4f} below the Keras student's "
            f"{reference[name]:.4f}"
        )
        if lost > tolerance + 1e-9:  # Of rounding.
            reasons.append(f"{text}; allowed is {tolerance:g} (quantized_tolerance)")
        elif lost > 1e-9:
            warnings.append(text)
    return reasons, warnings


def accuracy(outputs, labels, predictions=None):
    """Returns the share of predictions that are the labels; None without labels.

    Example:

    ```python
    accuracy({"logits": np.eye(2)}, np.array([0, 0]))  # 0.5
    ```
    """
    if labels is None:
        return None
    ((name, output),) = outputs.items()
    prediction = predictions[name] if predictions else Prediction()
    return float((prediction.of(output).reshape(labels.shape) == labels).mean())


def _check_name(name):
    if not isinstance(name, str) or name in _TAKEN:
        raise ValueError(
            "Expected the names of metrics to be strings that the report does not use "
            f"itself ({', '.join(sorted(_TAKEN))}). Received: {name!r}"
        )


def _check_value(name, value):
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value):
        raise ValueError(
            "Expected `metrics(outputs, targets)` to return finite floats. "
            f"Received: {value!r} of type {type(value).__name__} for '{name}'"
        )
