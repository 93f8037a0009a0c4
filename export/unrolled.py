"""Recurrent layers without loops, which the TFLite quantiser cannot take."""

import contextlib

import keras

from keras_diffkd.export.errors import ExportError

# Each step becomes operations of its own.
MAX_STEPS = 256


@contextlib.contextmanager
def unrolled(student):
    """Makes recurrent layers write one step after the other into a graph.

    Quantising a loop kills TensorFlow's converter, and the process with it.

    Args:
        student: `keras.Model`.

    Raises:
        ExportError: if there are too many steps.

    Example:

    ```python
    with unrolled(student):
        write_saved_model(serving, folder, batch_size=1)
    ```
    """
    layers = [
        layer
        for layer in student._flatten_layers()
        if isinstance(layer, keras.layers.RNN) and not layer.unroll
    ]
    for layer in layers:
        _check_steps(layer)
        layer.unroll = True
    try:
        yield
    finally:
        for layer in layers:
            layer.unroll = False


def _check_steps(layer):
    shape = (layer.get_build_config() or {}).get("input_shape")
    steps = shape[1] if shape and not isinstance(shape[0], (list, tuple)) else None
    if steps is not None and steps > MAX_STEPS:
        raise ExportError(
            f"the layer '{layer.name}' has {steps} steps, and the quantiser takes "
            f"loops only unrolled, up to {MAX_STEPS} steps. Choose 'tflite_dynamic', "
            "which keeps the loop, or 'onnx_int8'"
        )
