"""Follows channels through the graph of a model."""

import dataclasses

import keras
import numpy as np

from keras_diffkd.keras_private.layers import computes_its_graph
from keras_diffkd.pruning.channels import Channels
from keras_diffkd.pruning.labels import fixed_labels
from keras_diffkd.pruning.nodes import nodes_of
from keras_diffkd.pruning.opening import opened
from keras_diffkd.pruning.rules import rule_of
from keras_diffkd.pruning.rules.call import Call

INPUT = "the model's input"
OUTPUT = "an output of the model"


@dataclasses.dataclass
class ChannelGraph:
    """Describes the channels of a model.

    Attributes:
        model: Functional or sequential `keras.Model`.
        channels: `Channels`.
        layers: Dict from ids to `(layer, path)`, all layers and operations.
        changes: Dict from ids of layers to the `Change` of their first call.
        calls: List of `(layer, Change)`, one for each call.
        outputs: Dict from paths to lists, the labels of the first output of each call.
        opened: Dict from ids of layers to the functional models of what is inside.
        inputs: Dict from ids of models to the labels of their inputs in the first call.
        unknown: Dict from paths of layers without a rule to the reason.
    """

    model: object
    channels: Channels = dataclasses.field(default_factory=Channels)
    layers: dict = dataclasses.field(default_factory=dict)
    changes: dict = dataclasses.field(default_factory=dict)
    calls: list = dataclasses.field(default_factory=list)
    outputs: dict = dataclasses.field(default_factory=dict)
    opened: dict = dataclasses.field(default_factory=dict)
    inputs: dict = dataclasses.field(default_factory=dict)
    unknown: dict = dataclasses.field(default_factory=dict)


def channel_graph(model, keep=()):
    """Returns the `ChannelGraph` of a model.

    Args:
        model: Functional or sequential `keras.Model`. Models and layers inside may be
            nested.
        keep: Names or paths of layers whose outputs keep all channels.

    Raises:
        ValueError: If a layer to keep does not exist.
    """
    graph = ChannelGraph(model)
    inputs = [
        fixed_labels(graph.channels, len(tensor.shape), INPUT)
        for tensor in model.inputs
    ]
    kept = set(keep)
    for labels in _follow(graph, model, "", inputs, kept):
        graph.channels.fix(labels, OUTPUT)
    if kept:
        raise ValueError(
            f"`keep` must name layers of {model.name!r}. Received: {sorted(kept)}. "
            f"Expected names or paths such as {sorted(graph.outputs)[0]!r}"
        )
    return graph


def _follow(graph, model, prefix, inputs, kept):
    """Labels the tensors of a model, and returns the labels of its outputs."""
    first = graph.inputs.setdefault(id(model), inputs)
    for one, other in zip(first, inputs, strict=True):
        graph.channels.unite(one, other)
    labels = {
        id(tensor): each for tensor, each in zip(model.inputs, inputs, strict=True)
    }
    nodes = nodes_of(model)
    for node in nodes:
        operation = node.operation
        path = prefix + operation.name
        graph.layers[id(operation)] = operation, path
        read = [labels[id(tensor)] for tensor in node.input_tensors]
        inner = _inside(graph, operation, nodes)
        if inner is None:
            outputs = _call(graph, node, path, read)
        else:
            read = _arguments(inner, node, labels)
            outputs = _follow(graph, inner, f"{path}/", read, kept)
        graph.outputs.setdefault(path, []).append(outputs[0])
        for name in {path, operation.name} & kept:
            kept.discard(name)
            for each in outputs:
                graph.channels.fix(each, "it is in `keep`")
        for tensor, each in zip(node.output_tensors, outputs, strict=True):
            labels[id(tensor)] = each
    return [labels[id(tensor)] for tensor in model.outputs]


def _inside(graph, operation, nodes):
    """Returns the functional model that an operation is, or is made of, or `None`."""
    if computes_its_graph(operation):
        return operation
    if rule_of(operation) is not None:
        return None
    if id(operation) not in graph.opened:
        calls = [node for node in nodes if node.operation is operation]
        graph.opened[id(operation)] = opened(operation, calls)
    return graph.opened[id(operation)]


def _arguments(model, node, labels):
    """Returns the labels of a model's inputs in a call."""
    given = node.arguments.args[0] if node.arguments.args else node.input_tensors
    if isinstance(given, dict) and not isinstance(model.input, dict):
        given = [given[tensor.name] for tensor in model.inputs]
    return [labels[id(tensor)] for tensor in keras.tree.flatten(given)]


def _call(graph, node, path, inputs):
    """Applies the rule of an operation and returns the labels of its outputs."""
    operation, channels = node.operation, graph.channels
    call = Call(
        operation,
        path,
        node.input_tensors,
        inputs,
        [tensor.shape for tensor in node.output_tensors],
        (node.arguments.args, node.arguments.kwargs),
        channels,
    )
    rule = rule_of(operation)
    change = rule(call) if rule is not None else None
    # A layer that takes lists may return several outputs.
    if change is None or len(change.outputs) != len(call.output_shapes):
        reason = f"{path!r} ({type(operation).__name__}) is not understood"
        if getattr(operation, "weights", ()) or not all(
            channels.all_fixed(labels) for labels in inputs
        ):
            graph.unknown[path] = reason
        change = call.keep(reason)
    first = graph.changes.setdefault(id(operation), change)
    if first is not change:
        _unite(channels, first, change)
    graph.calls.append((operation, change))
    return change.outputs


def _unite(channels, first, second):
    """Unites the channels of two calls of one layer, which has one set of weights."""
    pairs = [
        (atoms, second.weights[name][axis])
        for name, axes in first.weights.items()
        if name in second.weights
        for axis, atoms in axes.items()
        if axis in second.weights[name]
    ]
    pairs += [
        (one, other)
        for name in first.config
        if name in second.config
        for one, other in zip(
            _arrays(first.config[name]), _arrays(second.config[name]), strict=False
        )
    ]
    if set(first.config) != set(second.config) or any(
        len(one) != len(other) for one, other in pairs
    ):
        reason = "a layer is shared by calls that differ"
        for atoms in keras.tree.flatten([first.outputs, second.outputs]):
            channels.fix(atoms, reason)
        for one, other in pairs:
            channels.fix(one, reason)
            channels.fix(other, reason)
        return
    for one, other in pairs:
        channels.unite(one, other)


def _arrays(value):
    parts = value if isinstance(value, tuple) else (value,)
    return [part for part in parts if isinstance(part, np.ndarray)]
