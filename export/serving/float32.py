"""Students trained in half or mixed precision, rebuilt in float32."""

import keras
import numpy as np

from keras_diffkd.keras_private.layers import all_layers
from keras_diffkd.models.precision import HALF_PRECISION, with_dtype_policy


def to_float32(student):
    """Returns the student computing in float32, with the same weights.

    A `mixed_float16` student would become a TFLite file full of operations that
    the interpreter refuses, and an ONNX file with float16 logits. So it is built
    anew from its config with every half-precision policy replaced by float32;
    the weights, whose values float32 holds exactly, are copied.

    Args:
        student: built `keras.Model`. It is not changed.

    Returns:
        `student` itself when it computes in float32 already, else a new model.

    Raises:
        ValueError: if the model cannot be rebuilt from its config, or is not
            float32 afterwards (a layer that sets its own dtype in `__init__`).

    Example:

    ```python
    keras.config.set_dtype_policy("mixed_float16")
    student = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    keras.config.set_dtype_policy("float32")
    to_float32(student).layers[0].compute_dtype  # "float32"
    ```
    """
    if not half_precision_layers(student):
        return student
    try:
        rebuilt = with_dtype_policy(student, "float32")
    except Exception as error:
        raise ValueError(
            f"The student '{student.name}' computes in half precision and could not "
            "be rebuilt in float32 from its config. Give its class a `get_config` "
            "that returns all arguments of `__init__`, or export a student built "
            f"with the float32 policy. Received: {type(error).__name__}: {error}"
        ) from error
    left = half_precision_layers(rebuilt)
    if left:
        raise ValueError(
            f"The student '{student.name}' still computes in half precision after "
            "it was rebuilt from its config in float32. Let these layers take "
            f"their dtype from the global policy. Received: {', '.join(left)}"
        )
    return rebuilt


def check_rebuilt(student, serving, samples):
    """Raises if the rebuilt float32 student is not the student it was rebuilt from.

    Weights are compared when they are copied; this also catches state of custom
    layers that is not in their weights. Half precision itself moves the outputs by
    a few per cent of their spread at most.

    Args:
        student: `keras.Model` as the user gave it.
        serving: `Serving` made from it.
        samples: `Samples`; at most 64 are used.

    Raises:
        ValueError: if the mean absolute difference of the outputs exceeds a fifth of
            their standard deviation.

    Example:

    ```python
    check_rebuilt(student, serving, read_samples(serving, None))
    ```
    """
    if serving.network is student:
        return
    inputs = serving.student_inputs(samples.batch(0, 64))
    outputs = [
        [
            keras.ops.convert_to_numpy(keras.ops.cast(output, "float32"))
            for output in keras.tree.flatten(model(inputs, training=False))
        ]
        for model in (student, serving.network)
    ]
    for half, full in zip(*outputs, strict=True):
        difference, spread = np.mean(np.abs(half - full)), np.std(full)
        if not difference <= 0.2 * spread + 1e-3:
            raise ValueError(
                f"The student '{student.name}' was rebuilt in float32 and gives other "
                f"outputs: mean difference {difference:.3g}, standard deviation "
                f"{spread:.3g}. A layer keeps state outside its weights and config, or "
                "the outputs overflow in half precision. Export a float32 student."
            )


def half_precision_layers(model):
    """Returns the paths of the layers whose computation or weights are not float32."""
    return [
        layer.path or layer.name
        for layer in all_layers(model)
        if {layer.compute_dtype, layer.variable_dtype} & HALF_PRECISION
    ]
