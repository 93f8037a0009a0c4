"""Outputs of an artefact against those of the Keras student, in NumPy."""

import numpy as np

NOT_MEASURED = {
    "max_difference": None,
    "mean_difference": None,
    "agreement": None,
    "accuracy": None,
}


def compare(outputs, reference, labels, tolerance):
    """Compares all outputs of an artefact with the student's.

    Args:
        outputs: dict of arrays by output name; first axis: examples.
        reference: the same from the student.
        labels: integer array for the one output, or None.
        tolerance: float. Largest absolute difference allowed.

    Returns:
        `(measured, reasons)`: a dict with the keys of `NOT_MEASURED`, and a list of
        what is wrong, empty if nothing is.

    Example:

    ```python
    logits = np.eye(3, dtype="float32")
    compare({"logits": logits}, {"logits": logits}, np.arange(3), 1e-4)
    # ({"max_difference": 0.0, ..., "agreement": 1.0, "accuracy": 1.0}, [])
    ```
    """
    reasons = [
        f"output '{name}' has shape {output.shape}, expected {reference[name].shape}"
        for name, output in outputs.items()
        if output.shape != reference[name].shape
    ]
    if reasons:
        return NOT_MEASURED, reasons
    reasons = [
        f"output '{name}' is not finite (NaN or infinity)"
        for name, output in outputs.items()
        if not np.all(np.isfinite(output))
    ]
    if reasons:
        return NOT_MEASURED, reasons
    differences = np.concatenate(
        [
            np.abs(output.astype("float64") - reference[name]).ravel()
            for name, output in outputs.items()
        ]
    )
    agree = np.concatenate(
        [
            (predictions(output) == predictions(reference[name])).ravel()
            for name, output in outputs.items()
        ]
    )
    measured = {
        "max_difference": float(differences.max()),
        "mean_difference": float(differences.mean()),
        "agreement": float(agree.mean()),
        "accuracy": accuracy(outputs, labels),
    }
    reasons = [
        f"output '{name}' is constant"
        for name, output in outputs.items()
        if is_constant(output) and not is_constant(reference[name])
    ]
    if measured["max_difference"] > tolerance:
        reasons.append(
            f"out of tolerance: differs from the Keras student by up to "
            f"{measured['max_difference']:.2g}, allowed is {tolerance:.2g}"
        )
    if not agree.all():
        reasons.append(
            f"{np.sum(~agree)} of {agree.size} predictions are not the Keras student's"
        )
    return measured, reasons


def predictions(output):
    """Returns the predicted classes of logits: argmax over the last axis.

    A single logit predicts by its sign.

    Example:

    ```python
    predictions(np.array([[0.1, 0.9]]))  # [1]
    ```
    """
    if output.ndim > 1 and output.shape[-1] > 1:
        return np.argmax(output, axis=-1)
    return output > 0


def accuracy(outputs, labels):
    """Returns the share of predictions that are the labels; None without labels.

    Example:

    ```python
    accuracy({"logits": np.eye(2)}, np.array([0, 0]))  # 0.5
    ```
    """
    if labels is None:
        return None
    (output,) = outputs.values()
    return float(np.mean(predictions(output).reshape(labels.shape) == labels))


def is_constant(output):
    """Returns whether all of several examples are the same.

    Example:

    ```python
    is_constant(np.zeros((5, 2)))  # True
    ```
    """
    return len(output) > 1 and bool(np.all(output == output[:1]))
