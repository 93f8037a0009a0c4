"""Compares outputs of an artifact with the Keras student's, in NumPy."""

import math

import numpy as np

from ..records.results import Measured, Thresholds
from ..serving.predictions import Prediction
from .matching import match

# The outputs of non-maximum suppression.
_DETECTIONS = {"boxes", "classes", "num_detections", "scores"}
DISAGREEMENT = Thresholds.disagreement_of_pixels
# A share of probabilities, or of the largest value. Rounding decides between two
# values that differ by less, also where outputs are saturated.
TIE = 2e-4
# Without a tolerance: how far boxes (of the image's size) and scores may differ.
SAME_DETECTION = 0.05
# The output of a detector with the logits of the classes of each anchor.
DETECTOR_LOGITS = "cls_logits"


def compare(outputs, reference, tolerance, predictions=None, *, must_agree=True):
    """Compares all outputs of an artifact with the student's.

    Args:
        outputs: dict of arrays by output name; first axis: examples.
        reference: the same from the student.
        tolerance: float. Largest absolute difference allowed; None for any.
        predictions: dict of `Prediction`s by output name; None for classes.
        must_agree: bool. Whether it is wrong to predict another class. Of outputs
            with several predictions for each example, 0.1%, rounded up, may be others.
            Two classes between which the student is undecided are the same.

    Returns:
        `(measured, reasons)`: a `Measured`, or None where nothing can be compared; and
        a list of reasons, empty if nothing is wrong.

    Example:

    ```python
    logits = np.eye(3, dtype="float32")
    compare({"logits": logits}, {"logits": logits}, 1e-4)
    # (Measured(max_difference=0.0, mean_difference=0.0, agreement=1.0), [])
    ```
    """
    reasons = _find_unusable(outputs, reference)
    if reasons:
        return None, reasons
    if are_detections(reference):
        return _compare_detections(outputs, reference, tolerance)
    differences = np.concatenate(
        [
            np.abs(output.astype("float64") - reference[name]).ravel()
            for name, output in outputs.items()
        ]
    )
    predictions = predictions or dict.fromkeys(outputs, Prediction())
    agree, allowed = _agreements(outputs, reference, predictions)
    measured = Measured(
        max_difference=float(differences.max()),
        mean_difference=float(differences.mean()),
        agreement=float(agree.mean()) if agree.size else None,
    )
    reasons = [
        f"output '{name}' is constant"
        for name, output in outputs.items()
        if is_constant(output) and _varies(reference[name], predictions[name])
    ]
    if tolerance is not None and measured.max_difference > tolerance:
        reasons.append(
            f"out of tolerance: differs from the Keras student by up to "
            f"{measured.max_difference:.2g}, allowed is {tolerance:.2g}"
        )
    count = np.sum(~agree)
    if must_agree and count > allowed:
        reasons.append(
            f"{count} of {agree.size} predictions are not the Keras student's"
        )
    return measured, reasons


def _agreements(outputs, reference, predictions):
    """Returns which predictions are the student's, and how many need not be."""
    agree = [
        agreement(output, reference[name], predictions[name])
        for name, output in class_scores(outputs).items()
        if predictions[name].kind != "number"
    ]
    num_examples = len(next(iter(outputs.values())))
    is_one_each = all(len(each) == num_examples for each in agree)
    agree = np.concatenate([np.zeros(0, bool), *agree])
    return agree, 0 if is_one_each else math.ceil(DISAGREEMENT * agree.size)


def _find_unusable(outputs, reference):
    if set(outputs) != set(reference):
        return [
            f"outputs are {', '.join(sorted(outputs))}, and the Keras student's "
            f"{', '.join(sorted(reference))}"
        ]
    return [
        f"output '{name}' has shape {output.shape}, expected {reference[name].shape}"
        for name, output in outputs.items()
        if output.shape != reference[name].shape
    ] or [
        f"output '{name}' is not finite (NaN or infinity)"
        for name, output in outputs.items()
        if not np.all(np.isfinite(output))
    ]


def _compare_detections(outputs, reference, tolerance):
    near = SAME_DETECTION if tolerance is None else tolerance
    differences, share = match(outputs, reference, near)
    measured = Measured(agreement=share)
    if differences.size:
        measured = Measured(float(differences.max()), float(differences.mean()), share)
    if tolerance is None or share >= 1 - DISAGREEMENT:
        return measured, []
    return measured, [
        f"out of tolerance: {1 - share:.2%} of the detections differ from the Keras "
        f"student's by more than {tolerance:.2g}, allowed are {DISAGREEMENT:.2%}"
    ]


def are_detections(outputs):
    """Returns whether these outputs come after non-maximum suppression.

    Example:

    ```python
    are_detections({"logits": np.eye(3)})  # False
    ```
    """
    return set(outputs) == _DETECTIONS


def class_scores(outputs):
    """Returns those of the outputs whose largest value is a prediction.

    Example:

    ```python
    list(class_scores({"boxes": boxes, "cls_logits": logits}))  # ["cls_logits"]
    ```
    """
    # The other outputs of detectors are boxes.
    name = DETECTOR_LOGITS
    return {name: outputs[name]} if name in outputs else outputs


def agreement(output, reference, prediction):
    """Returns which predictions of an output are the student's, a flat bool array.

    Args:
        output: array of an artifact.
        reference: the same of the student.
        prediction: `Prediction`, not of a number.

    Example:

    ```python
    agreement(np.eye(2), np.eye(2), Prediction())  # [True, True]
    ```
    """
    predicted = prediction.of(output)
    agree = predicted == prediction.of(reference)
    if prediction.kind != "value":
        margins = prediction.margins(reference, predicted)
        agree = agree | (margins <= TIE * prediction.scale(reference))
    return agree.ravel()


def is_constant(output):
    """Returns whether all of several examples are the same.

    Example:

    ```python
    is_constant(np.zeros((5, 2)))  # True
    ```
    """
    return len(output) > 1 and bool(np.all(output == output[:1]))


def _varies(reference, prediction):
    """Returns whether the student's examples differ by more than rounding."""
    values = np.asarray(reference, "float64")
    return np.ptp(values, axis=0).max() > TIE * prediction.scale(reference)
