"""The inputs on which artifacts are compared with the student."""

import dataclasses

import keras
import numpy as np

from .predictions import find_predictions
from .sizes import unknown_axes, with_sizes

NUM_RANDOM_SAMPLES = 64
RANDOM_SEED = 0


@dataclasses.dataclass(frozen=True)
class Samples:
    """Inputs, and targets if there are any.

    Attributes:
        inputs: dict of arrays by the names of `Serving.inputs`; first axis: examples.
        targets: what the metrics take: any structure of arrays whose first axis is
            examples, or None. Of the accuracy: integer labels of shape `(N, ...)` for
            the one output of shape `(N, ..., classes)`, or `(N, ..., classes)` of 0
            and 1 for sigmoids.
        origin: what the manifest says about them: "given" or how they were drawn.

    Example:

    ```python
    samples = read_samples(serving, (images, labels))
    len(samples)  # number of examples
    ```
    """

    inputs: dict
    targets: object
    origin: str

    @property
    def is_random(self):
        """Returns whether they were drawn, and are not the user's."""
        return self.origin.startswith("random")

    def __len__(self):
        return len(next(iter(self.inputs.values())))

    def batch(self, start, stop):
        """Returns some of the examples, as a dict of arrays by input name."""
        return {name: array[start:stop] for name, array in self.inputs.items()}

    def full_batch(self, start, size):
        """Returns `size` of the examples; the last one fills up what is missing."""
        batch = self.batch(start, start + size)
        return {
            name: np.concatenate([array, *[array[-1:]] * (size - len(array))])
            for name, array in batch.items()
        }


def read_samples(serving, samples, metrics=None):
    """Checks the user's samples and orders them by input.

    Args:
        serving: `Serving`.
        samples: None for seeded standard normal inputs, or pixels; inputs (an array,
            or the dictionary, list or tuple of arrays that the student takes); or a
            tuple `(inputs, targets)`. For artifacts of pixels, integer images, or float
            images as the student takes them, which become pixels again.
        metrics: callable or None. With it the targets may be any structure of arrays
            and must be there; without, they are integer labels.

    Returns:
        `Samples`.

    Raises:
        ValueError: if structure, shape or number of examples do not fit, there is
            no example, a value is not finite, or targets are missing or not what
            the metrics take.

    Example:

    ```python
    read_samples(serving, None).origin  # "random: standard normal, seed 0"
    ```
    """
    if samples is None:
        _check_targets_are_there(None, metrics)
        kind = "uniform pixels" if serving.preprocessing else "standard normal"
        origin = f"random: {kind}, seed {RANDOM_SEED}"
        return Samples(_name(serving, _random_inputs(serving)), None, origin)
    inputs, targets = samples, None
    if isinstance(samples, tuple) and not are_inputs(serving, samples):
        if len(samples) != 2:
            raise ValueError(
                "Expected `samples` to be inputs or a tuple (inputs, targets); pass "
                "the inputs of a student with several as a list or dictionary. "
                f"Received: a tuple of {len(samples)}"
            )
        inputs, targets = samples
    _check_targets_are_there(targets, metrics)
    inputs = _flatten_inputs(serving, inputs)
    if metrics is not None:
        targets = _check_targets(targets, len(inputs[0]))
    elif targets is not None:
        sized = with_sizes(serving, _name(serving, inputs))
        targets = _check_labels(sized, targets, len(inputs[0]))
    return Samples(_name(serving, inputs), targets, "given")


def are_inputs(serving, samples):
    """Returns whether a tuple holds the inputs of a student that takes tuples."""
    if not isinstance(serving.structure, tuple):
        return False
    try:
        keras.tree.assert_same_structure(serving.structure, samples)
    except (ValueError, TypeError):
        return False
    return True


def _name(serving, arrays):
    return {
        spec.name: array for spec, array in zip(serving.inputs, arrays, strict=True)
    }


def _random_inputs(serving):
    shapes = {spec.name: tuple(spec.shape) for spec in serving.inputs}
    if unknown_axes(serving.inputs):
        raise ValueError(
            "The student takes inputs of any size, so random samples cannot be made. "
            f"Pass `samples` of the size to use. Received: inputs of shape {shapes}"
        )
    rng = np.random.default_rng(RANDOM_SEED)
    arrays = []
    for spec in serving.inputs:
        if serving.preprocessing:
            size = [NUM_RANDOM_SAMPLES, *spec.shape[1:]]
            return [rng.integers(0, 256, size, "uint8")]
        if not spec.dtype.is_floating:
            raise ValueError(
                "Random samples are only made for float inputs. Pass real inputs as "
                f"`samples`. Received: input '{spec.name}' of {spec.dtype.name}"
            )
        array = rng.standard_normal([NUM_RANDOM_SAMPLES, *spec.shape[1:]])
        arrays.append(array.astype(spec.dtype.as_numpy_dtype))
    return arrays


def _flatten_inputs(serving, inputs):
    if keras.tree.is_nested(serving.structure):
        try:
            keras.tree.assert_same_structure(serving.structure, inputs)
        except (ValueError, TypeError) as error:
            raise ValueError(
                "The samples are not structured as the inputs of the student "
                f"'{serving.student.name}': {error}"
            ) from error
        inputs = keras.tree.flatten(inputs)
    else:
        inputs = [inputs]
    if serving.preprocessing:
        inputs = [_restore(serving, inputs[0])]
    arrays = [
        _as_array(array, spec)
        for array, spec in zip(inputs, serving.inputs, strict=True)
    ]
    for array, spec in zip(arrays, serving.inputs, strict=True):
        _check_array(array, spec)
        if len(array) == 0 or len(array) != len(arrays[0]):
            raise ValueError(
                "The samples need at least one example, and as many for every "
                f"input. Received: {[len(array) for array in arrays]} examples"
            )
    return arrays


def _as_array(array, spec):
    try:
        return np.asarray(array, spec.dtype.as_numpy_dtype)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"The samples for the input '{spec.name}' must be an array of "
            f"{spec.dtype.name}. Received: {type(array).__name__} ({error})"
        ) from error


def _restore(serving, images):
    images = np.asarray(images)
    # Before its channels meet those of the normalization.
    _check_array(images, serving.inputs[0])
    return serving.preprocessing.restore(images)


def _check_array(array, spec):
    if not spec.shape.is_compatible_with((None, *array.shape[1:])):
        raise ValueError(
            f"The samples for the input '{spec.name}' do not have its shape. "
            f"Expected: {tuple(spec.shape)}. Received: {array.shape}"
        )
    if not np.all(np.isfinite(array)):
        raise ValueError(
            f"The samples for the input '{spec.name}' contain NaN or infinity."
        )


def _check_targets_are_there(targets, metrics):
    if metrics is not None and targets is None:
        raise ValueError(
            "`metrics` compares outputs with targets. Pass samples=(inputs, targets), "
            "or leave `metrics` out. Received: samples without targets"
        )


def _check_targets(targets, num_examples):
    targets = keras.tree.map_structure(np.asarray, targets)
    shapes = [array.shape for array in keras.tree.flatten(targets)]
    if not shapes or any(shape[:1] != (num_examples,) for shape in shapes):
        raise ValueError(
            "Expected the targets to be an array, or a structure of arrays, whose "
            f"first axis is the {num_examples} examples of the inputs. Received: "
            f"arrays of shape {shapes}"
        )
    return targets


def _check_labels(serving, labels, num_examples):
    if len(serving.outputs) != 1:
        raise ValueError(
            "Labels are compared with the one output of a classifier or segmenter; for "
            "a student with several outputs leave them out, or pass `metrics`. "
            f"Received: labels and {len(serving.outputs)} outputs"
        )
    (spec,) = serving.outputs
    given = np.asarray(labels)
    labels = _whole(given)
    shape = (num_examples, *spec.shape[1:])
    if labels.shape == shape and shape[-1] > 1:
        expected = shape  # Labels of their own for each value.
    else:
        expected = shape[: max(1, len(shape) - 1)]
    fits = np.issubdtype(labels.dtype, np.integer) and (
        labels.size == np.prod(expected) and labels.shape[:1] == expected[:1]
    )
    if fits:
        labels = labels.reshape(expected)
        (prediction,) = find_predictions(serving, labels).values()
        is_binary = prediction.kind == "threshold"
        several = len(expected) == len(shape) > 1 and not is_binary
        are_integers = is_binary or np.issubdtype(given.dtype, np.integer)
        fits = prediction.kind != "number" and are_integers and not several
    if not fits:
        raise ValueError(
            f"Expected integer labels of shape {shape[:-1] or shape}: class indices, "
            "or 0 and 1 for a single sigmoid output. Several sigmoid outputs need "
            f"labels of 0 and 1 of shape {shape}. Received: {given.dtype.name} of "
            f"shape {given.shape}. Pass `metrics` for other targets, such as those of "
            "a regression."
        )
    return labels


def _whole(labels):
    """Returns labels that are 0.0 or 1.0, as binary losses take them, as integers."""
    is_number = labels.dtype == bool or np.issubdtype(labels.dtype, np.floating)
    if is_number and np.isin(labels, (0, 1)).all():
        return labels.astype("int64")
    return labels
