"""Models rebuilt under another dtype policy."""

import tempfile
from pathlib import Path

import keras
import numpy as np

from keras_diffkd.keras_private.layers import all_layers, operation_of

HALF_PRECISION = {"float16", "bfloat16", "mixed_float16", "mixed_bfloat16"}


def with_dtype_policy(model, policy):
    """Returns a copy of a model that computes under another dtype policy.

    The copy is built from the model's config, with the policy of every layer
    replaced, and gets the same weights. A teacher under `"mixed_bfloat16"` costs
    less of each step where the processor has the instructions, and on GPUs.

    Args:
        model: Built `keras.Model`. It is not changed.
        policy: Name of a Keras dtype policy, `"float32"`, `"mixed_bfloat16"` or
            `"mixed_float16"`. The weights stay, or become, float32.

    Returns:
        A new model. The layers that give its outputs compute in float32.

    Raises:
        ValueError: If the copy's weights are not those of the model. Whatever else
            Keras raises for a model that cannot be rebuilt from its config.

    Example:

    >>> model = keras.Sequential(
    ...     [keras.Input((4,)), keras.layers.Dense(8), keras.layers.Dense(2)])
    >>> copy = with_dtype_policy(model, "mixed_bfloat16")
    >>> [layer.compute_dtype for layer in copy.layers]
    ['bfloat16', 'float32']
    """
    config = _replace_policies(keras.saving.serialize_keras_object(model), policy)
    # Training state, which is not needed and may not rebuild.
    config.pop("compile_config", None)
    classes = {type(layer).__name__: type(layer) for layer in all_layers(model)}
    previous = keras.config.dtype_policy()
    # Layers that a subclassed model makes in `__init__` follow the global policy.
    keras.config.set_dtype_policy(policy)
    try:
        # safe_mode guards against foreign files; this config is of a live model.
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
    """Replaces the policies anywhere in a serialised config."""
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
    # The {"name": "mixed_float16"} of a DTypePolicy, whose config has nothing else: a
    # layer may be called "float16".
    if key == "name" and set(config) <= {"name", "source_name"}:
        return policy if value in HALF_PRECISION | {"float32"} else None
    # The {"dtype": "float16"} of an input.
    return "float32" if key == "dtype" and value in HALF_PRECISION else None


def _output_layers(model):
    """Returns the layers that give the outputs of a functional model."""
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
    # A subclassed model without `build` makes its weights when it is first called.
    shape = model.get_build_config()["input_shape"]
    zeros = keras.tree.map_shape_structure(
        lambda s: np.zeros([1, *s[1:]], "float32"), shape
    )
    rebuilt(zeros, training=False)


def _copy_weights(model, rebuilt):
    # Through a weights file, because it restores what `set_weights` leaves stale:
    # Normalization, for one, computes with copies of its weights.
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
            raise ValueError(f"the weight '{old.path}' was not copied")
