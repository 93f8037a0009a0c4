"""Unrolls recurrent layers, because the TFLite quantizer cannot take loops."""

import contextlib

import keras
import numpy as np

from keras_diffkd.errors import ExportError
from keras_diffkd.keras_private.layers import all_layers

# Each step becomes operations of its own.
MAX_STEPS = 256


@contextlib.contextmanager
def unrolled(student, steps=None):
    """Makes recurrent layers write all steps into a graph, one after the other.

    Quantizing a loop kills TensorFlow's converter, and the process with it.

    Args:
        student: `keras.Model`.
        steps: int, where the student itself takes any number.

    Raises:
        ExportError: if there are too many steps.

    Example:

    ```python
    with unrolled(student):
        write_saved_model(serving, folder, batch_size=1)
    ```
    """
    layers = [layer for layer in _recurrent(student) if not layer.unroll]
    for layer in layers:
        _check_steps(layer, steps)
        layer.unroll = True
    try:
        yield
    finally:
        for layer in layers:
            layer.unroll = False


def reversed_in_time(student, example):
    """Returns an example with its steps in reverse order; None if there are none.

    Unrolled, each step has activations of its own. Where all examples are padded, the
    last ones see only zeros; a range that is learned from these has no width, and the
    interpreter crashes on it. In reverse each step sees values.

    Args:
        student: `keras.Model`.
        example: dict of arrays by input name.

    Example:

    ```python
    reversed_in_time(student, {"image": steps})
    ```
    """
    if not _recurrent(student):
        return None
    return {name: _reverse(array) for name, array in example.items()}


def _reverse(array):
    are_tokens = array.ndim == 2 and np.issubdtype(array.dtype, np.integer)
    return array[:, ::-1] if array.ndim > 2 or are_tokens else array


def _recurrent(student):
    return [
        layer for layer in all_layers(student) if isinstance(layer, keras.layers.RNN)
    ]


def _check_steps(layer, given):
    shape = (layer.get_build_config() or {}).get("input_shape")
    steps = shape[1] if shape and not isinstance(shape[0], (list, tuple)) else None
    steps = steps or given
    if steps is not None and steps > MAX_STEPS:
        raise ExportError(
            f"the layer '{layer.name}' has {steps} steps, and the quantizer takes "
            f"loops only unrolled, up to {MAX_STEPS} steps. Choose 'tflite_dynamic', "
            "which keeps the loop, or 'onnx_int8'"
        )
