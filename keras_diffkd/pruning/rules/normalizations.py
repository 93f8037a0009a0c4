"""Rules for layers that scale channels, by statistics or weights."""

import keras
import numpy as np

from keras_diffkd.pruning.labels import axis_of
from keras_diffkd.pruning.rules.call import Change

_VECTORS = ("gamma", "beta", "moving_mean", "moving_variance", "scale")


def batch_normalization(call):
    """Batch normalization treats each channel apart."""
    atoms = call.along(call.operation.axis)
    if atoms is None:
        return Change(call.inputs)
    return Change(call.inputs, {name: {0: atoms} for name in _VECTORS})


def last_axis_normalization(call):
    """Layer and RMS normalization. Their statistics are over the channels that stay."""
    axes = call.operation.axis
    axes = [axes] if isinstance(axes, int) else list(axes)
    rank = len(call.shapes[0])
    axes = sorted(axis % rank for axis in axes)
    labeled = axis_of(call.inputs[0])
    if labeled not in axes:
        return Change(call.inputs)
    atoms, place = call.along(labeled), axes.index(labeled)
    return Change(call.inputs, {name: {place: atoms} for name in _VECTORS})


def group_normalization(call):
    """Group normalization: each group loses the same channels."""
    layer = call.operation
    atoms = call.along(layer.axis)
    if atoms is None:
        return call.keep("group normalization has no channels on its axis")
    config = {}
    if layer.groups == len(atoms):
        config["groups"] = atoms
    else:
        rows = atoms.reshape(layer.groups, -1)
        call.channels.unite(rows, rows[0])
    return Change(call.inputs, {name: {0: atoms} for name in _VECTORS}, config)


def parametric_relu(call):
    """PReLU, whose weights have the input's axes, or 1 where it shares them."""
    labeled = axis_of(call.inputs[0])
    shared = call.operation.shared_axes or []
    if labeled is None or labeled in shared:
        return Change(call.inputs)
    return Change(call.inputs, {"alpha": {labeled - 1: call.along(labeled)}})


def layer_scale(call):
    """The layer scale of ConvNeXt: a weight for each channel of the last axis."""
    atoms = call.along(-1)
    if atoms is None:
        return Change(call.inputs)
    weights = {call.operation.gamma.path.rpartition("/")[2]: {0: atoms}}
    return Change(call.inputs, weights, {"projection_dim": np.asarray(atoms)})


RULES = {
    keras.layers.BatchNormalization: batch_normalization,
    keras.layers.LayerNormalization: last_axis_normalization,
    keras.layers.RMSNormalization: last_axis_normalization,
    keras.layers.GroupNormalization: group_normalization,
    keras.layers.PReLU: parametric_relu,
}
NAMED_RULES = {"LayerScale": layer_scale}
