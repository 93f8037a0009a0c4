"""Rules for layers and operations that move, join or drop axes."""

import keras
import numpy as np

from keras_diffkd.pruning.labels import axis_of, compressed
from keras_diffkd.pruning.rules.call import Change


def reshape(call):
    """Reshapes, which may split channels or join them to positions."""
    is_layer = isinstance(call.operation, keras.layers.Layer)
    name = "target_shape" if is_layer else "newshape"
    target = getattr(call.operation, name)
    target = [target] if isinstance(target, int) else list(target)
    labels = _reshaped(call)
    if labels is None:
        return call.keep("a reshape of unknown sizes moves its channels")
    axis = axis_of(labels)
    config = {}
    if axis is not None and target[axis - is_layer] not in (-1, None):
        target[axis - is_layer] = labels.reshape(-1)
        config[name] = tuple(target)
    return Change([labels], config=config)


def flatten(call):
    """Flattening joins the channels to the positions."""
    labels = _reshaped(call)
    if labels is None:
        return call.keep("a map of unknown size is flattened")
    return Change([labels])


def _reshaped(call):
    """Returns the labels after a reshape, or `None` if sizes are unknown."""
    labels, shape, target = call.inputs[0], call.shapes[0], call.output_shapes[0]
    axis = axis_of(labels)
    if axis == len(shape) - 1 and target[-1] == shape[-1]:
        return labels.reshape((1,) * (len(target) - 1) + (-1,))
    sizes, target = [1, *shape[1:]], [1, *target[1:]]
    if axis is None:
        return labels.reshape((1,) * len(target))
    if None in sizes or None in target:
        return None
    whole = np.broadcast_to(labels, sizes).reshape(target)
    return compressed(whole, call.channels)


def permute(call):
    """Transposes and permutations of axes."""
    if isinstance(call.operation, keras.layers.Permute):
        order = (0, *call.operation.dims)
    else:
        order = call.operation.axes or tuple(reversed(range(call.rank)))
    return Change([call.inputs[0].transpose(order)])


def global_pooling(call):
    """Global pooling drops the positions."""
    layer, rank = call.operation, len(call.shapes[0])
    channel_axis = 1 if layer.data_format == "channels_first" else rank - 1
    dropped = tuple(a for a in range(1, rank) if a != channel_axis)
    return _reduced(call, dropped, layer.keepdims)


def reduction(call):
    """Means, sums and extrema over axes without channels."""
    axes, rank = call.operation.axis, len(call.shapes[0])
    axes = range(rank) if axes is None else axes
    axes = [axes] if isinstance(axes, int) else axes
    axes = tuple(axis % rank for axis in axes)
    return _reduced(call, axes, call.operation.keepdims)


def _reduced(call, axes, keepdims):
    labels = call.inputs[0]
    if axis_of(labels) in axes:
        return call.keep(f"{call.path!r} reduces over channels")
    return Change([labels if keepdims else labels.squeeze(axes)])


def expand_dims(call):
    """Adds axes of length 1."""
    axes = call.operation.axis
    axes = tuple(axes) if isinstance(axes, (tuple, list)) else axes
    return Change([np.expand_dims(call.inputs[0], axes)])


def squeeze(call):
    """Drops axes of length 1."""
    axes = call.operation.axis
    if axes is None:
        return call.keep("all axes of length 1 are dropped")
    axes = tuple(axes) if isinstance(axes, (tuple, list)) else axes
    return Change([call.inputs[0].squeeze(axes)])


def get_item(call):
    """Takes slices along axes without channels."""
    args, kwargs = call.arguments
    key = kwargs.get("key", args[1] if len(args) > 1 else None)
    key = list(key) if isinstance(key, (tuple, list)) else [key]
    if not all(isinstance(part, (int, slice)) or part is Ellipsis for part in key):
        return call.keep("its channels are indexed")
    rank = len(call.shapes[0])
    if Ellipsis in key:
        place = key.index(Ellipsis)
        key[place : place + 1] = [slice(None)] * (rank - len(key) + 1)
    key += [slice(None)] * (rank - len(key))
    labels = call.inputs[0]
    axis = axis_of(labels)
    if axis is not None and key[axis] != slice(None):
        return call.keep("its channels are indexed")
    dropped = tuple(a for a, part in enumerate(key) if isinstance(part, int))
    return Change([labels.squeeze(dropped)])


RULES = {
    keras.layers.Reshape: reshape,
    keras.layers.Flatten: flatten,
    keras.layers.Permute: permute,
    **dict.fromkeys(
        (
            keras.layers.GlobalAveragePooling1D,
            keras.layers.GlobalAveragePooling2D,
            keras.layers.GlobalAveragePooling3D,
            keras.layers.GlobalMaxPooling1D,
            keras.layers.GlobalMaxPooling2D,
            keras.layers.GlobalMaxPooling3D,
        ),
        global_pooling,
    ),
}
OPERATIONS = {
    "Reshape": reshape,
    "Transpose": permute,
    **dict.fromkeys(("Mean", "Sum", "Max", "Min"), reduction),
    "ExpandDims": expand_dims,
    "Squeeze": squeeze,
    "GetItem": get_item,
}
