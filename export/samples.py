"""The inputs on which artefacts are compared with the student."""

import dataclasses

import keras
import numpy as np

NUM_RANDOM_SAMPLES = 64
RANDOM_SEED = 0


@dataclasses.dataclass(frozen=True)
class Samples:
    """Inputs, and labels if there are any.

    Attributes:
        inputs: dict of arrays by the names of `Serving.inputs`; first axis: examples.
        labels: integer array, or None. With one output of shape `(N, ..., classes)`
            the labels have shape `(N, ...)`.
        origin: what the manifest says about them: "given" or how they were drawn.

    Example:

    ```python
    samples = read_samples(serving, (images, labels))
    len(samples)  # number of examples
    ```
    """

    inputs: dict
    labels: np.ndarray | None
    origin: str

    def __len__(self):
        return len(next(iter(self.inputs.values())))

    def batch(self, start, stop):
        """Returns some of the examples, as a dict of arrays by input name."""
        return {name: array[start:stop] for name, array in self.inputs.items()}


def read_samples(serving, samples):
    """Checks what the user passed as samples and puts it in order.

    Args:
        serving: `Serving`.
        samples: None for seeded standard normal inputs; inputs (an array, or the
            dictionary or list of arrays that the student takes); or a tuple
            `(inputs, labels)`.

    Returns:
        `Samples`.

    Raises:
        ValueError: if structure, shape or number of examples do not fit, there is
            no example, a value is not finite, or labels are not integers for the
            one output.

    Example:

    ```python
    read_samples(serving, None).origin  # "random: standard normal, seed 0"
    ```
    """
    if samples is None:
        origin = f"random: standard normal, seed {RANDOM_SEED}"
        return Samples(_name(serving, _random_inputs(serving)), None, origin)
    inputs, labels = samples, None
    if isinstance(samples, tuple):
        if len(samples) != 2:
            raise ValueError(
                "Expected `samples` to be inputs or a tuple (inputs, labels); pass "
                "the inputs of a student with several as a list or dictionary. "
                f"Received: a tuple of {len(samples)}"
            )
        inputs, labels = samples
    inputs = _flatten_inputs(serving, inputs)
    if labels is not None:
        labels = _check_labels(serving, np.asarray(labels), len(inputs[0]))
    return Samples(_name(serving, inputs), labels, "given")


def _name(serving, arrays):
    return {
        spec.name: array for spec, array in zip(serving.inputs, arrays, strict=True)
    }


def _random_inputs(serving):
    rng = np.random.default_rng(RANDOM_SEED)
    arrays = []
    for spec in serving.inputs:
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
    arrays = [
        np.asarray(array, spec.dtype.as_numpy_dtype)
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


def _check_array(array, spec):
    if array.ndim != len(spec.shape) or array.shape[1:] != tuple(spec.shape[1:]):
        raise ValueError(
            f"The samples for the input '{spec.name}' do not have its shape. "
            f"Expected: {tuple(spec.shape)}. Received: {array.shape}"
        )
    if not np.all(np.isfinite(array)):
        raise ValueError(
            f"The samples for the input '{spec.name}' contain NaN or infinity."
        )


def _check_labels(serving, labels, num_examples):
    if len(serving.outputs) != 1:
        raise ValueError(
            "Labels are compared with the one output of a classifier; leave them out "
            "for a student with several outputs. "
            f"Received: labels and {len(serving.outputs)} outputs"
        )
    expected = (num_examples, *serving.outputs[0].shape[1:-1])
    fits = np.issubdtype(labels.dtype, np.integer) and (
        labels.size == np.prod(expected) and labels.shape[:1] == expected[:1]
    )
    if not fits:
        raise ValueError(
            f"Expected integer labels (class indices) of shape {expected}. "
            f"Received: {labels.dtype.name} of shape {labels.shape}"
        )
    return labels.reshape(expected)
