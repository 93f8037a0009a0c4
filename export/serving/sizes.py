"""Axes of any size besides the batch: sequences of any length, images of any size."""

import copy

import keras
import numpy as np

from .pixels import describe_input

# Names of the axes after the batch, by the number of all axes or the layout of images.
_WORDS = {
    2: ("time",),
    3: ("time", "channels"),
    "NHWC": ("height", "width", "channels"),
    "NCHW": ("channels", "height", "width"),
}
# The number of examples at a second size.
NUM_EXAMPLES = 8


def unknown_axes(specs):
    """Returns the axes of unknown size but the first, lists by name of the tensor.

    Args:
        specs: list of `tf.TensorSpec` or of `TensorInfo`.

    Example:

    ```python
    unknown_axes([tf.TensorSpec((None, None, 4), name="image")])  # {"image": [1]}
    ```
    """
    found = {}
    for spec in specs:
        shape = list(spec.shape)
        axes = [axis for axis, size in enumerate(shape) if axis and size is None]
        if axes:
            found[spec.name] = axes
    return found


def with_sizes(serving, arrays):
    """Returns a `Serving` whose inputs have the sizes of these arrays.

    Args:
        serving: `Serving`; returned itself if all its sizes are known.
        arrays: dict of arrays by input name.

    Example:

    ```python
    with_sizes(serving, {"image": images}).inputs[0].shape  # (None, 96, 96, 3)
    ```
    """
    if not unknown_axes(serving.inputs):
        return serving
    fixed = copy.copy(serving)
    fixed.trace_for(
        [
            keras.KerasTensor((None, *arrays[spec.name].shape[1:]), spec.dtype.name)
            for spec in serving.inputs
        ]
    )
    return fixed


def axis_names(serving):
    """Returns the names of axes in ONNX files, lists by name of the tensor.

    Args:
        serving: `Serving`.

    Example:

    ```python
    axis_names(serving)["image"]  # ["batch", "time", "channels"]
    ```
    """
    layout = describe_input(serving)["layout"]
    names = {}
    for spec in (*serving.inputs, *serving.outputs):
        rank = spec.shape.rank
        words = [f"{spec.name}_axis_{axis}" for axis in range(1, rank)]
        is_input = any(spec is one for one in serving.inputs)
        known = _WORDS.get(layout if rank == 4 else rank)
        # Two inputs, or an output, may be of another size: a name of their own.
        if is_input and known and len(serving.inputs) == 1:
            words = known
        names[spec.name] = ["batch", *words]
    return names


def resized(serving, samples, run):
    """Returns a few samples of another size along axes of unknown size; None if none.

    They are twice as long, or half if the student takes no more.

    Args:
        serving: `Serving`.
        samples: `Samples`.
        run: callable that runs the Keras student on a dict of arrays.

    Raises:
        ValueError: if the student takes neither.

    Example:

    ```python
    resized(serving, samples, runtime.run)
    ```
    """
    axes = unknown_axes(serving.inputs)
    if not axes:
        return None
    for resize in (_double, _halve):
        inputs = samples.batch(0, NUM_EXAMPLES)
        for name in axes:
            for axis in axes[name]:
                inputs[name] = resize(inputs[name], axis)
        try:
            run({name: array[:1] for name, array in inputs.items()})
        except Exception as error:  # Whatever the student's own `call` raises.
            failure = " ".join(str(error).split())
        else:
            return type(samples)(inputs, None, samples.origin)
    shapes = {spec.name: tuple(spec.shape) for spec in serving.inputs}
    given = {name: array.shape for name, array in samples.inputs.items()}
    raise ValueError(
        f"The inputs of the student '{serving.student.name}' have axes of any size, "
        f"{shapes}, but it takes neither twice nor half the size of the samples. Build "
        f"it for their size. Received: samples of shape {given}, and {failure}"
    )


def _double(array, axis):
    return np.concatenate([array, array], axis)


def _halve(array, axis):
    return np.take(array, range((array.shape[axis] + 1) // 2), axis)
