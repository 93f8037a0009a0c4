"""Rebuilds models under another dtype policy."""

import tempfile
from pathlib import Path

import keras
import numpy as np

from keras_diffkd.keras_private.layers import all_layers, operation_of

HALF_PRECISION = {"float16", "bfloat16", "mixed_float16", "mixed_bfloat16"}


def with_dtype_policy(model, policy):
    """Returns a copy of a model that computes under another dtype policy.

    The copy is built from the model's config, with the policy of every layer replaced,
    and gets the same weights. Under `"mixed_bfloat16"`, a teacher runs faster on GPUs
    and on processors with bfloat16 instructions.

    Args:
        model: Built `keras.Model`. It is not changed.
        policy: Name of a Keras dtype policy, `"float32"`, `"mixed_bfloat16"` or
            `"mixed_float16"`. The weights are float32 in all cases.

    Returns:
        A new model. The layers of its outputs compute in float32.

    Raises:
        ValueError: If the weights of the copy differ from those of the model. Keras
            raises its own errors for a model that cannot be rebuilt from its config.

    Example:

    >>> model = keras.Sequential(
    ...     [keras.Input((4,)), keras.layers.Dense(8), keras.layers.Dense(2)])
    >>> copy = with_dtype_policy(model, "mixed_bfloat16")
    >>> [layer.compute_dtype for layer in copy.layers]
    ['bfloat16', 'float32']
    """
    config = _replace_policies(keras.saving.serialize_keras_object(model), policy)
    # The training state is not needed, and Keras may not be able to rebuild it.
    config.pop("compile_config", None)
    classes = {type(layer).__name__: type(layer) for layer in all_layers(model)}
    previous = keras.config.dtype_policy()
    # Layers that a subclassed model creates in `__init__` use the global policy.
    keras.config.set_dtype_policy(policy)
    try:
        # `safe_mode` is for files that are not trusted; this config is not from a file.
        rebuilt = keras.saving.deserialize_keras_object(
            config, custom_objects=classes, safe_mode=False
        )
        if len(rebuilt.weights) != len(model.weights):
            _call_on_zeros(rebuilt, model)
    finally:
        keras.config.set_dtype_policy(previous)
    _copy_weights(model, rebuilt)
    for layer in _output_layers(rebuilt):
        layer.dtype_policy = "float32"
    return rebuilt


def _replace_policies(config, policy):
    """Replaces the policies at any depth in a serialized config."""
    if isinstance(config, dict):
        return {
            key: _replacement(config, key, policy) or _replace_policies(value, policy)
            for key, value in config.items()
        }
    if isinstance(config, (list, tuple)):
        return type(config)(_replace_policies(item, policy) for item in config)
    return config


def _replacement(config, key, policy):
    value = config[key]
    if not isinstance(value, str):
        return None
    # Matches the {"name": "mixed_float16"} of a DTypePolicy. Its config has no other
    # keys, which tells it from a layer that is named "float16".
    if key == "name" and set(config) <= {"name", "source_name"}:
        return policy if value in HALF_PRECISION | {"float32"} else None
    # Matches the {"dtype": "float16"} of an input.
    return "float32" if key == "dtype" and value in HALF_PRECISION else None


def _output_layers(model):
    """Returns the layers that compute the outputs of a functional model."""
    if not getattr(model, "outputs", None):
        return []
    layers = [operation_of(tensor) for tensor in model.outputs]
    return [
        inner
        for layer in layers
        for inner in (
            _output_layers(layer) if isinstance(layer, keras.Model) else [layer]
        )
        if isinstance(inner, keras.layers.Layer)
    ]


def _call_on_zeros(rebuilt, model):
    # A subclassed model without `build` creates its weights in its first call.
    shape = model.get_build_config()["input_shape"]
    zeros = keras.tree.map_shape_structure(
        lambda s: np.zeros([1, *s[1:]], "float32"), shape
    )
    rebuilt(zeros, training=False)


def _copy_weights(model, rebuilt):
    # A weights file also updates values that `set_weights` does not: Normalization,
    # for example, computes with copies of its weights.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.weights.h5"
        model.save_weights(path)
        rebuilt.load_weights(path)
    for old, new in zip(model.weights, rebuilt.weights, strict=True):
        same = np.array_equal(
            keras.ops.convert_to_numpy(keras.ops.cast(old, "float32")),
            keras.ops.convert_to_numpy(keras.ops.cast(new, "float32")),
        )
        if not same:
            raise ValueError(
                f"The weight {old.path!r} of {model.name!r} was not copied. Check the "
                "`load_own_variables` of its layer."
            )
