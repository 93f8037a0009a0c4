"""Finds the rule of a layer: which channels it makes, reads and couples."""

import keras

from keras_diffkd.keras_private.layers import is_application_layer, is_keras_operation
from keras_diffkd.pruning.rules import (
    attention,
    convolutions,
    dense,
    merging,
    normalizations,
    shapes,
    unchanged,
)

_FAMILIES = (
    attention,
    convolutions,
    dense,
    merging,
    normalizations,
    shapes,
    unchanged,
)
_LAYERS, _OPERATIONS, _NAMED = {}, {}, {}
for _family in _FAMILIES:
    _LAYERS.update(getattr(_family, "RULES", {}))
    _OPERATIONS.update(getattr(_family, "OPERATIONS", {}))
    _NAMED.update(getattr(_family, "NAMED_RULES", {}))


def rule_of(operation):
    """Returns the rule for a layer or operation, or `None` if there is none.

    A subclass of a layer may compute something else, so the class must be the same.

    Args:
        operation: `keras.Layer` or `keras.Operation`.
    """
    cls = type(operation)
    if getattr(operation, "quantization_mode", None) or getattr(
        operation, "lora_enabled", False
    ):
        return None
    if not isinstance(operation, keras.layers.Layer):
        return _OPERATIONS.get(cls.__name__) if is_keras_operation(cls) else None
    if cls in _LAYERS:
        return _LAYERS[cls]
    is_known = is_application_layer(cls) or cls.__module__.startswith("keras_hub.")
    return _NAMED.get(cls.__name__) if is_known else None
