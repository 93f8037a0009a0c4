"""Counts parameters and multiply-adds of a model that is not built yet."""

import math

import keras

from keras_diffkd.keras_private.layers import computes_its_graph
from keras_diffkd.pruning.weights import labeled_weights, uses_of


def parameters(graph, stays, cost=lambda weight: 1):
    """Returns the number of parameters with the channels that stay.

    Args:
        graph: `ChannelGraph`.
        stays: Boolean array, which atoms stay.
        cost: Callable that returns what one element of a weight counts.
    """
    found = {}
    for layer, _ in graph.layers.values():
        # The parts of a model, or of an opened layer, are counted by themselves.
        if graph.opened.get(id(layer)) or not isinstance(layer, keras.layers.Layer):
            continue
        if computes_its_graph(layer):
            continue
        for weight, axes in labeled_weights(layer, graph.changes.get(id(layer))):
            found[id(weight)] = cost(weight) * _size(weight, axes, stays)
    return sum(found.values())


def multiply_adds(graph, stays):
    """Returns the multiply-adds of kernels and attention for one sample.

    Sizes that are unknown count as 1.

    Args:
        graph: `ChannelGraph`.
        stays: Boolean array, which atoms stay.
    """
    total = 0
    for layer, change in graph.calls:
        if change.uses:
            total += sum(
                uses_of(change, weight) * _size(weight, axes, stays)
                for weight, axes in labeled_weights(layer, change)
            )
        total += sum(
            factor * int(stays[atoms].sum()) for factor, atoms in change.products
        )
    return total


def _size(weight, axes, stays):
    return math.prod(
        int(stays[axes[axis]].sum()) if axis in axes else size
        for axis, size in enumerate(weight.shape)
    )
