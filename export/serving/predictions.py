"""Reads predictions from outputs: a class, a yes or no, or a number."""

import dataclasses

import keras
import numpy as np

from .names import snake_case

# Operations that may follow the last one without changing its meaning.
_WRAPPERS = {"Cast", "ExpandDims", "Identity", "Reshape", "Squeeze", "StopGradient"}
_BINARY = (
    keras.losses.BinaryCrossentropy,
    keras.losses.BinaryFocalCrossentropy,
)
_HINGE = (keras.losses.Hinge, keras.losses.SquaredHinge)
_CATEGORICAL = (
    keras.losses.CategoricalCrossentropy,
    keras.losses.CategoricalFocalCrossentropy,
    keras.losses.CategoricalHinge,
    keras.losses.SparseCategoricalCrossentropy,
)
_REGRESSION = (
    keras.losses.CosineSimilarity,
    keras.losses.Huber,
    keras.losses.LogCosh,
    keras.losses.MeanAbsoluteError,
    keras.losses.MeanAbsolutePercentageError,
    keras.losses.MeanSquaredError,
    keras.losses.MeanSquaredLogarithmicError,
    keras.losses.Poisson,
)


@dataclasses.dataclass(frozen=True)
class Prediction:
    """How an output is read.

    Attributes:
        kind: "class" (the largest of the last axis), "threshold" (each value is a yes
            or no), "value" (integers, such as class indices) or "number" (no class:
            regression).
        threshold: float, for "threshold": a yes is more than that.
        is_probability: bool. Whether values are between 0 and 1 as probabilities are.

    Example:

    ```python
    Prediction("threshold", 0.5, True).of(np.array([[0.2], [0.7]]))  # [[False], [True]]
    ```
    """

    kind: str = "class"
    threshold: float = 0.0
    is_probability: bool = False

    def of(self, output):
        """Returns the predictions of an array; None if it predicts no class."""
        if self.kind == "class":
            return np.argmax(output, axis=-1)
        if self.kind == "threshold":
            return output > self.threshold
        return output if self.kind == "value" else None

    def scale(self, reference):
        """Returns the value that differences are measured against."""
        if self.is_probability:
            return 1.0
        return float(np.abs(np.asarray(reference, "float64")).max(initial=0.0))

    def margins(self, reference, predicted):
        """Returns the margins by which the student decides against predictions.

        Args:
            reference: float array of the student.
            predicted: `of` another array.
        """
        if self.kind == "threshold":
            return np.abs(reference.astype("float64") - self.threshold)
        reference = reference.astype("float64")
        chosen = np.take_along_axis(reference, predicted[..., None], axis=-1)[..., 0]
        return reference.max(axis=-1) - chosen


def find_predictions(serving, labels=None):
    """Returns how each output is read, a dict of `Prediction`s by output name.

    The loss that the student was compiled with says it; without one, the operation
    that the output comes from. One number that neither says anything of is a logit if
    there are labels to compare it with, and else a number.

    Args:
        serving: `Serving`.
        labels: integer array or None. Labels of the one output.

    Example:

    ```python
    find_predictions(serving)  # {"logits": Prediction("class")}
    ```
    """
    rows = zip(serving.outputs, serving.trace.outputs, serving.losses, strict=True)
    return {
        spec.name: _find_prediction(spec, tensor, loss, labels)
        for spec, tensor, loss in rows
    }


def describe_predictions(detection, predictions):
    """Describes predictions for programs that run the artifacts.

    Args:
        detection: of the manifest. Decoded boxes and scores need no explanation.
        predictions: dict of `Prediction`s by output name.

    Example:

    ```python
    describe_predictions(None, {"logits": Prediction()})["logits"]["kind"]  # "class"
    ```
    """
    if detection is not None:
        return None
    return {name: dataclasses.asdict(p) for name, p in predictions.items()}


def compiled_losses(student, count):
    """Returns the losses that a student was compiled with, in order of its outputs.

    Args:
        student: `keras.Model`.
        count: int, of its outputs.

    Example:

    ```python
    compiled_losses(student, 1)  # ["mse"]
    ```
    """
    loss = getattr(student, "loss", None)
    if isinstance(loss, dict):
        names = getattr(student, "output_names", None) or []
        found = [loss.get(name) for name in names]
    elif isinstance(loss, (list, tuple)):
        found = list(loss)
    else:
        found = [loss] if count == 1 else []
    return found if len(found) == count else [None] * count


def _find_prediction(spec, tensor, loss, labels):
    if not spec.dtype.is_floating:
        return Prediction("value")
    operation = _last_operation(tensor)
    is_sigmoid = operation == "Sigmoid"
    is_probability = is_sigmoid or operation == "Softmax"
    loss = _as_loss(loss)
    is_one = spec.shape.rank < 2 or spec.shape[-1] == 1
    if isinstance(loss, _REGRESSION):
        return Prediction("number", is_probability=is_probability)
    if labels is not None and not is_one and labels.ndim < spec.shape.rank:
        return Prediction("class", is_probability=is_probability)
    if isinstance(loss, _HINGE):
        return Prediction("threshold", 0.0)
    if isinstance(loss, _BINARY):
        is_logit = getattr(loss, "from_logits", False) and not is_sigmoid
        return Prediction("threshold", 0.0 if is_logit else 0.5, not is_logit)
    if isinstance(loss, _CATEGORICAL) and not is_one:
        return Prediction("class", is_probability=is_probability)
    if is_sigmoid:
        return Prediction("threshold", 0.5, True)
    if is_one:
        return Prediction("number" if labels is None else "threshold")
    return Prediction("class", is_probability=is_probability)


def _last_operation(tensor):
    operation = tensor.op
    while operation.type in _WRAPPERS and operation.inputs:
        operation = operation.inputs[0].op
    return operation.type


def _as_loss(loss):
    """Returns the object that a name or a function of Keras stands for."""
    if callable(loss) and not isinstance(loss, keras.losses.Loss):
        loss = getattr(loss, "__name__", None)
    if isinstance(loss, str):
        try:
            found = keras.losses.get(loss)
        except ValueError:  # A loss of the user's.
            return None
        if isinstance(found, keras.losses.Loss):
            return found
        name = getattr(found, "__name__", "")
        # Names such as "mse" give functions, whose classes have the same name.
        named = {snake_case(kind.__name__): kind for kind in _ALL}
        return named[name]() if name in named else None
    return loss


_ALL = (*_BINARY, *_HINGE, *_CATEGORICAL, *_REGRESSION)
