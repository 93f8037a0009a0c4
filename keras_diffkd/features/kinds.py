"""Infers the kind of a tapped feature from the layers around the tap.

A feature with three axes may be a sequence `(batch, timesteps, channels)` or a grid of
tokens `(batch, tokens, channels)`, and the channels of a map may be the last axis or
the one after the batch. The layers that computed the feature show which; its size is
never used to guess.
"""

import keras
import numpy as np

from keras_diffkd.features.graph import place_of, producer
from keras_diffkd.features.known_kind import KnownKind
from keras_diffkd.features.specs import input_spec
from keras_diffkd.keras_private.layers import inner_layers

# Kinds of features by their number of axes. Three axes are ambiguous.
KINDS_BY_RANK = {2: "vector", 4: "map", 5: "volume"}

_OVER_TIME = (
    keras.layers.RNN,
    keras.layers.Bidirectional,
    keras.layers.TimeDistributed,
    keras.layers.RepeatVector,
    keras.layers.Conv1D,
    keras.layers.Conv1DTranspose,
    keras.layers.DepthwiseConv1D,
    keras.layers.SeparableConv1D,
    keras.layers.MaxPooling1D,
    keras.layers.AveragePooling1D,
    keras.layers.UpSampling1D,
)
_ATTENTION = (
    keras.layers.MultiHeadAttention,
    keras.layers.GroupQueryAttention,
    keras.layers.Attention,
    keras.layers.AdditiveAttention,
)
_LAST_AXIS = (
    keras.layers.Dense,
    keras.layers.Embedding,
    keras.layers.RNN,
    keras.layers.Bidirectional,
    *_ATTENTION,
)


def kind_of(model, tap, shape):
    """Returns the kind of a tapped feature.

    Args:
        model: The `keras.Model`.
        tap: `None`, or the name or path of a layer.
        shape: Shape tuple of the feature, batch axis included.

    Returns:
        `"vector"`, `"map"`, `"volume"` (a three-dimensional map), `"sequence"`,
        `"tokens"` (of a square map), `"rectangle"` (tokens of a map that is not
        square), or `None` if the layers do not show it.
    """
    if len(shape) != 3:
        return KINDS_BY_RANK.get(len(shape))
    place, layer = place_of(model, tap)
    if isinstance(layer, KnownKind):
        return layer.kind
    if _is_over_time(layer):
        return "sequence"
    kind = None if place is None else _kind_at(place)
    if kind is None and not getattr(model, "outputs", None):
        kind = _kind_after(model, keras.tree.flatten(input_spec(model)))
    return None if kind == "unclear" else kind


def _kind_at(place):
    """Returns the kind that all operations before a place agree on, or `None`."""
    verdicts, waiting, seen = set(), [place], set()
    while waiting:
        place = waiting.pop()
        if place.key in seen:
            continue
        seen.add(place.key)
        operation, inputs = producer(place)
        verdict = _verdict(operation, inputs, place)
        if verdict is not None:
            verdicts.add(verdict)
            continue
        # The keys and values of an attention layer may have another length.
        is_one = isinstance(operation, _ATTENTION) or not _is_of_keras(operation)
        deep = [each for each in inputs if len(each.tensor.shape) >= 3]
        waiting += deep[:1] if is_one else deep
    if not verdicts:
        return None
    return verdicts.pop() if len(verdicts) == 1 else "unclear"


def channel_axis_of(model, tap, shape):
    """Returns the axis of a tapped feature that holds its channels.

    Args:
        model: The `keras.Model`.
        tap: `None`, or the name or path of a layer.
        shape: Shape tuple of the feature, batch axis included.
    """
    rank = len(shape)
    if rank < 3:
        return rank - 1
    place, layer = place_of(model, tap)
    axis = _channel_axis_of_layer(layer, rank)
    if axis is not None:
        return axis
    if place is None:
        return rank - 1 if _format_inside(model, rank) != "channels_first" else 1
    return _channel_axis_at(place, rank)


def channels_last(feature, axis):
    """Returns a feature with its channels moved from `axis` to the end."""
    if axis == len(feature.shape) - 1:
        return feature
    return keras.ops.moveaxis(feature, axis, -1)


def _verdict(operation, inputs, place):
    """Returns the kind that an operation implies, or `None` to search further back."""
    rank = len(place.tensor.shape)
    if rank > 3:
        # Here the feature was reshaped from a map, or from the heads of an attention.
        is_map = hasattr(operation, "data_format")
        return "unclear" if is_map or not inputs else None
    if _is_over_time(operation) or isinstance(operation, keras.layers.Embedding):
        return "sequence"
    if not inputs:
        return None
    source = inputs[0].tensor
    if _is_reshape(operation):
        return _of_reshape(place.tensor, inputs[0]) if len(source.shape) > 3 else None
    if _is_of_keras(operation):
        return None
    return _kind_after(operation, [each.tensor for each in inputs])


def _kind_after(layer, inputs):
    """Returns the kind of feature that a custom layer outputs, or `None`."""
    source = next((each for each in inputs if each is not None), None)
    if source is None:
        return None
    over_time = any(isinstance(each, _OVER_TIME) for each in inner_layers(layer))
    rank = len(source.shape)
    if rank == 2 and "int" in keras.backend.standardize_dtype(source.dtype):
        return "sequence"
    if rank == 3:
        return "sequence" if over_time else None
    if rank < 4:
        return None
    if over_time or rank > 4:
        return "unclear"
    sides = _sides(source, channels_first=_format_inside(layer, 4) == "channels_first")
    return _of_grid(*sides)


def _of_reshape(tensor, source):
    """Returns the kind of a reshaped map: tokens, if its channels are kept."""
    rank = len(source.tensor.shape)
    if rank == 5:
        return "unclear"
    if rank > 5:  # Windows of a map.
        kept = tensor.shape[-1] == source.tensor.shape[-1]
        return "tokens" if kept else None
    first = _channel_axis_at(source, 4) == 1
    axis = 1 if first else -1
    if tensor.shape[axis] != source.tensor.shape[axis]:
        return None
    height, width = _sides(source.tensor, first)
    if 1 in (height, width) and height != width:
        return "unclear"
    return _of_grid(height, width)


def _of_grid(height, width):
    return "tokens" if height == width or None in (height, width) else "rectangle"


def _sides(tensor, channels_first):
    return tensor.shape[2:4] if channels_first else tensor.shape[1:3]


def _channel_axis_at(place, rank):
    """Returns the channel axis of the tensor at a place in the graph."""
    # For each axis of the feature, the axis of the current tensor it comes from.
    axes = np.arange(rank)
    while True:
        operation, inputs = producer(place)
        axis = _channel_axis_of_layer(operation, rank)
        if axis is None and _is_reshape(operation) and rank == 3 and inputs:
            axis = _axis_after_reshape(place.tensor, inputs[0])
        if axis is not None:
            return int(np.flatnonzero(axes == axis)[0])
        alike = [each for each in inputs if len(each.tensor.shape) == rank]
        if not alike:
            return rank - 1
        axes = _permuted(operation, rank)[axes]
        place = alike[0]


def _channel_axis_of_layer(operation, rank):
    """Returns the channel axis in the settings of an operation, or `None`."""
    if isinstance(operation, keras.layers.TimeDistributed):
        axis = _channel_axis_of_layer(operation.layer, rank - 1)
        return rank - 1 if axis is None else axis + 1
    if isinstance(operation, _LAST_AXIS):
        return rank - 1
    normalization = (keras.layers.BatchNormalization, keras.layers.GroupNormalization)
    if isinstance(operation, normalization):
        return operation.axis % rank
    data_format = getattr(operation, "data_format", None)
    if not _is_of_keras(operation) and isinstance(operation, keras.layers.Layer):
        # A layer that turns images into tokens has the data format of the images.
        data_format = data_format if rank > 3 else None
        data_format = data_format or _format_inside(operation, rank)
    formats = {"channels_first": 1, "channels_last": rank - 1}
    return formats.get(data_format) if isinstance(data_format, str) else None


def _format_inside(layer, rank):
    """Returns the data format that all convolutions in a layer share, or `None`."""
    formats = {
        each.data_format
        for each in inner_layers(layer)
        if getattr(each, "rank", None) == rank - 2 and hasattr(each, "data_format")
    }
    return formats.pop() if len(formats) == 1 else None


def _axis_after_reshape(tensor, source):
    """Returns 1 for a channels-first map with flattened spatial axes, or `None`."""
    rank = len(source.tensor.shape)
    if rank == 4 and _channel_axis_at(source, rank) == 1:
        return 1 if tensor.shape[1] == source.tensor.shape[1] else None
    return None


def _permuted(operation, rank):
    """Returns the input axis for each output axis of an operation."""
    axes = np.arange(rank)
    kind = type(operation).__name__
    if isinstance(operation, keras.layers.Permute):
        return np.array([0, *operation.dims])
    if kind == "Transpose":
        return axes[::-1] if operation.axes is None else np.array(operation.axes) % rank
    if kind == "Moveaxis":
        lined = np.moveaxis(
            np.empty(axes + 2), operation.source, operation.destination
        ).shape
        return np.array(lined) - 2
    if kind == "Swapaxes":
        axes[[operation.axis1, operation.axis2]] = axes[
            [operation.axis2, operation.axis1]
        ]
    return axes


def _is_over_time(operation):
    return isinstance(operation, _OVER_TIME)


def _is_reshape(operation):
    return type(operation).__name__ == "Reshape"


def _is_of_keras(operation):
    return type(operation).__module__.startswith("keras.")
