"""Runs a teacher whose dropped channels contribute zero, beside its smaller copy.

It knows of the dropped channels only what the report of `shrink` says of each layer's
output, and multiplies the others by zero. It knows nothing of which layers couple.
"""

import collections

import keras
import numpy as np

from keras_diffkd.keras_private.layers import computes_its_graph
from keras_diffkd.pruning.nodes import nodes_of


def randomized(model, seed=0):
    """Gives a new model statistics, scales and biases that make a difference."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        name = weight.path.rpartition("/")[2]
        value = keras.ops.convert_to_numpy(weight.value)
        if name in ("moving_variance", "variance", "gamma", "scale"):
            weight.assign(rng.uniform(0.5, 1.5, value.shape))
        elif name in ("beta", "bias", "moving_mean", "mean", "alpha"):
            weight.assign(value + rng.normal(0, 0.2, value.shape))
    return model


def largest_difference(graph, student, report, inputs):
    """Returns the largest difference of all outputs of all layers, relative to each."""
    found = []
    inputs = [keras.ops.convert_to_tensor(value) for value in inputs]
    kept = _Kept(report.kept)
    _run(graph.model, student, inputs, inputs, "", kept, graph.opened, found)
    return float(np.max(found))


class _Kept:
    """Says what each call keeps, as a report has it."""

    def __init__(self, kept):
        self._kept, self._calls = kept, collections.Counter()

    def of_next_call(self, path):
        self._calls[path] += 1
        of_call = f"{path} (call {self._calls[path]})"
        return self._kept.get(of_call, self._kept.get(path))

    def of_heads(self, path):
        return self._kept.get(f"{path} (heads)")


def _run(teacher, student, of_teacher, of_student, prefix, kept, opened, found):
    """Runs both graphs call by call and returns the outputs of both."""
    values = {id(t): v for t, v in zip(teacher.inputs, of_teacher, strict=True)}
    smaller = {id(t): v for t, v in zip(student.inputs, of_student, strict=True)}
    for node, other in zip(nodes_of(teacher), nodes_of(student), strict=True):
        layer, path = node.operation, prefix + node.operation.name
        args, kwargs = _filled(node, values)
        other_args, other_kwargs = _filled(other, smaller)
        inner = layer if computes_its_graph(layer) else opened.get(id(layer))
        if inner is not None:
            whole, part = _run(
                inner,
                other.operation,
                keras.tree.flatten(args[0]),
                keras.tree.flatten(other_args[0]),
                f"{path}/",
                kept,
                opened,
                found,
            )
        else:
            part = keras.tree.flatten(other.operation(*other_args, **other_kwargs))
            of_call = kept.of_next_call(path)
            whole = _outputs(layer, args, kwargs, of_call, kept.of_heads(path))
            whole = [
                _compared(a, b, of_call, found)
                for a, b in zip(whole, part, strict=True)
            ]
        values |= {id(t): v for t, v in zip(node.output_tensors, whole, strict=True)}
        smaller |= {id(t): v for t, v in zip(other.output_tensors, part, strict=True)}
    return (
        [values[id(tensor)] for tensor in teacher.outputs],
        [smaller[id(tensor)] for tensor in student.outputs],
    )


def _filled(node, values):
    return keras.tree.map_structure(
        lambda x: values[id(x)] if isinstance(x, keras.KerasTensor) else x,
        (node.arguments.args, node.arguments.kwargs),
    )


def _compared(whole, part, kept, found):
    """Returns a teacher's output without the dropped channels, and compares it."""
    whole = keras.ops.convert_to_numpy(whole)
    part = keras.ops.convert_to_numpy(part)
    if whole.shape != part.shape:
        (axis,) = [a for a, n in enumerate(whole.shape) if n != part.shape[a]]
        mask = np.zeros(whole.shape[axis], whole.dtype)
        mask[kept] = 1
        shape = [1] * whole.ndim
        shape[axis] = -1
        whole = whole * mask.reshape(shape)
        same = whole.take(kept, axis)
    else:
        same = whole
    found.append(np.abs(same - part).max() / max(1.0, np.abs(same).max()))
    return keras.ops.convert_to_tensor(whole)


def _outputs(layer, args, kwargs, kept, heads):
    if heads is not None:
        (kernel,) = [
            w for w in layer.weights if w.path.endswith("attention_output/kernel")
        ]
        before = keras.ops.convert_to_numpy(kernel.value)
        mask = np.zeros(before.shape[0] * before.shape[1], before.dtype)
        mask[heads] = 1
        kernel.assign(before * mask.reshape(*before.shape[:2], 1))
        outputs = keras.tree.flatten(layer(*args, **kwargs))
        kernel.assign(before)
        return outputs
    norms = ("LayerNormalization", "RMSNormalization", "GroupNormalization")
    if type(layer).__name__ in norms and kept is not None:
        return [_normalized(layer, args[0], kept)]
    return keras.tree.flatten(layer(*args, **kwargs))


def _normalized(layer, x, kept):
    """Normalizes with statistics of the channels that stay, in NumPy."""
    x = keras.ops.convert_to_numpy(x)
    part = x[..., kept]
    groups = getattr(layer, "groups", None)
    rows = (
        part
        if groups is None
        else part.reshape(len(x), -1, groups, len(kept) // groups)
    )
    axes = -1 if groups is None else (1, 3)
    if not type(layer).__name__.startswith("RMS"):
        rows = rows - rows.mean(axes, keepdims=True)
    rows = rows / np.sqrt(np.square(rows).mean(axes, keepdims=True) + layer.epsilon)
    rows = rows.reshape(part.shape)
    scale = layer.scale if type(layer).__name__.startswith("RMS") else layer.gamma
    rows = rows * keras.ops.convert_to_numpy(scale)[kept]
    if getattr(layer, "beta", None) is not None:
        rows = rows + keras.ops.convert_to_numpy(layer.beta)[kept]
    result = np.zeros_like(x)
    result[..., kept] = rows
    return result
