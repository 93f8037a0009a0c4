"""Rules for attention, which loses whole heads: the softmax of the others stays."""

import math

import keras
import numpy as np

from keras_diffkd.pruning.labels import along, on_axis
from keras_diffkd.pruning.rules.call import Change


def multi_head_attention(call):
    """Multi-head attention."""
    config = call.operation.get_config()
    reason = _not_understood(call, config)
    if reason:
        return call.keep(reason)
    size = config["value_dim"] or config["key_dim"]
    heads = call.channels.new(f"{call.path} (heads)", config["num_heads"], size)[::size]
    outputs = call.channels.new(call.path, call.output_shapes[0][-1])
    change = _attention(call, heads, heads, outputs, config["key_dim"] + size)
    change.config = {"num_heads": heads, "output_shape": (outputs,)}
    return change


def grouped_query_attention(call):
    """Grouped-query attention: query heads leave with their key and value head."""
    layer = call.operation
    reason = _not_understood(call, layer.get_config())
    if reason:
        return call.keep(reason)
    groups = layer.num_query_heads // layer.num_key_value_heads
    repeats = groups * layer.head_dim
    heads = call.channels.new(
        f"{call.path} (heads)", layer.num_key_value_heads, repeats
    )[::repeats]
    query_heads = np.repeat(heads, groups)
    # The width of the output is that of the query.
    outputs = call.along(-1)
    change = _attention(call, query_heads, heads, outputs, 2 * layer.head_dim)
    change.config = {"num_query_heads": query_heads, "num_key_value_heads": heads}
    return change


def _attention(call, query_heads, heads, outputs, widths):
    tensors = _read(call)
    query, value = (_atoms(call, tensors[name]) for name in ("query", "value"))
    key = _atoms(call, tensors["key"])
    weights = {
        "query/kernel": {0: query, 1: query_heads},
        "query/bias": {0: query_heads},
        "gate/kernel": {0: query, 1: query_heads},
        "gate/bias": {0: query_heads},
        "key/kernel": {0: key, 1: heads},
        "key/bias": {0: heads},
        "value/kernel": {0: value, 1: heads},
        "value/bias": {0: heads},
        "attention_output/kernel": {0: query_heads, 2: outputs},
        "attention_output/bias": {0: outputs},
    }
    targets, sources = (
        math.prod(size or 1 for size in tensors[name].shape[1:-1])
        for name in ("query", "value")
    )
    uses = {
        "query/kernel": targets,
        "gate/kernel": targets,
        "key/kernel": sources,
        "value/kernel": sources,
        "attention_output/kernel": targets,
    }
    labels = on_axis(outputs, -1, call.rank)
    products = [(targets * sources * widths, query_heads)]
    return Change([labels], weights, uses=uses, products=products)


def _read(call):
    """Returns the tensors that attention reads, by the names of its arguments."""
    args, kwargs = call.arguments
    names = dict(zip(("query", "value", "key"), args, strict=False)) | kwargs
    if names.get("key") is None:
        names["key"] = names["value"]
    return names


def _atoms(call, tensor):
    return along(call.labels_of(tensor), -1, tensor.shape)


def _not_understood(call, config):
    """Returns why the heads of this call must stay, or `None`."""
    tensors = _read(call)
    read = [tensors[name] for name in ("query", "value", "key")]
    if any(_atoms(call, tensor) is None for tensor in read):
        return "attention reads channels only on the last axis"
    if len(call.output_shapes) > 1:
        return "the scores of attention are read"
    shape = config.get("output_shape")
    if isinstance(shape, (tuple, list)) and len(shape) > 1:
        return "attention has an output of several axes"
    return None


RULES = {
    keras.layers.MultiHeadAttention: multi_head_attention,
    keras.layers.GroupQueryAttention: grouped_query_attention,
}
