"""Stores the weights of an ONNX graph with quantized activations as integers."""

import numpy as np

from keras_diffkd.quantization.weights import LIMIT

# The axis of output channels of each weight.
_CHANNELS = {"Conv": 0, "ConvTranspose": 1, "Gemm": 1, "MatMul": -1}
# Operations whose results have the scale of their first input.
_MOVING = {
    "AveragePool",
    "Concat",
    "Flatten",
    "Gather",
    "MaxPool",
    "Pad",
    "Reshape",
    "Resize",
    "Slice",
    "Split",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
}
# Those of them that runtimes compute in integers if the result is quantized.
_ROUNDED = {"AveragePool", "Concat", "Resize"}
# Weights are at most this many of their steps away from whole ones, if they were
# rounded: float32 adds up to 1e-5.
_EXACT = 1e-3
_LARGEST_BIAS = 2**30
_SMALLEST = 1e-30


def store_integers(model):
    """Changes an ONNX model whose activations are quantized so that runtimes fuse it.

    onnxruntime computes a layer in integers if its weights are int8 and its bias is
    int32 with the scale of the products. Rounded weights become exactly that; others
    stay float. Results of concatenations, average pooling and resizing get the scale of
    their inputs.

    Args:
        model: `onnx.ModelProto` with QuantizeLinear and DequantizeLinear.

    Example:

    ```python
    store_integers(onnx.load("student.onnx"))
    ```
    """
    _Graph(model.graph).rewrite()


class _Graph:
    """Rewrites a graph; remembers what it has added, since layers share weights."""

    def __init__(self, graph):
        from onnx import numpy_helper

        self.graph = graph
        self.arrays = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
        self.makers = {name: node for node in graph.node for name in node.output}
        self.nodes = []
        self.added = {}

    def rewrite(self):
        for node in list(self.graph.node):
            if node.op_type in _CHANNELS and node.input[1] in self.arrays:
                self._round_weights(node)
            self.nodes.append(node)
            if node.op_type in _ROUNDED and not self._is_rounded(node.output[0]):
                self._quantize(node)
        del self.graph.node[:]
        self.graph.node.extend(self.nodes)
        used = {name for node in self.nodes for name in node.input}
        kept = [tensor for tensor in self.graph.initializer if tensor.name in used]
        del self.graph.initializer[:]
        self.graph.initializer.extend(kept)
        del self.graph.value_info[:]

    def _round_weights(self, node):
        weights = self.arrays[node.input[1]]
        axis = _CHANNELS[node.op_type] % weights.ndim
        if node.op_type == "Gemm" and any(
            a.name == "transB" and a.i for a in node.attribute
        ):
            axis = 0
        scales = _scales(weights, axis)
        if scales is None:
            return
        step, bias = self._scale(node.input[0]), None
        if step is not None and len(node.input) > 2:
            bias = self.arrays.get(node.input[2])
        name = node.input[1]
        if bias is not None:
            least = np.abs(bias) / (step * _LARGEST_BIAS)
            if np.any(least > scales):  # Of channels whose weights are next to nothing.
                scales, name = np.maximum(scales, least), f"{node.name}_weights"
        scales = scales.astype("float32")
        shape = [-1 if i == axis else 1 for i in range(weights.ndim)]
        values = np.rint(weights / scales.reshape(shape)).astype("int8")
        node.input[1] = self._dequantized(name, values, scales, axis)
        if bias is not None:
            steps = (step.astype("float64") * scales).astype("float32")
            bias = np.rint(bias / steps.astype("float64")).astype("int32")
            node.input[2] = self._dequantized(f"{node.name}_bias", bias, steps, 0)

    def _dequantized(self, name, values, scales, axis):
        """Returns the name of the floats that integers stand for."""
        from onnx import helper

        key = (name, axis)
        if key not in self.added:
            parts = {
                "values": values,
                "scale": scales,
                "zero_point": np.zeros(len(scales), values.dtype),
            }
            inputs = [
                self._store(f"{name}_{axis}_{part}", array)
                for part, array in parts.items()
            ]
            self.added[key] = f"{name}_{axis}_dequantized"
            output = self.added[key]
            self.nodes.append(
                helper.make_node(
                    "DequantizeLinear", inputs, [output], output, axis=axis
                )
            )
        return self.added[key]

    def _store(self, name, array):
        from onnx import numpy_helper

        self.graph.initializer.append(numpy_helper.from_array(array, name))
        return name

    def _scale(self, name):
        node = self._quantizing(name)
        return None if node is None else self.arrays.get(node.input[1])

    def _quantizing(self, name):
        """Returns the DequantizeLinear whose scale a tensor has, or None."""
        node = self.makers.get(name)
        while node is not None and node.op_type in _MOVING:
            node = self.makers.get(node.input[0])
        return node if node is not None and node.op_type == "DequantizeLinear" else None

    def _is_rounded(self, name):
        readers = [node for node in self.graph.node if name in node.input]
        return all(node.op_type == "QuantizeLinear" for node in readers)

    def _parameters(self, node):
        """Returns the scale and the zero point of a node."""
        return tuple(self.arrays[name].item() for name in node.input[1:])

    def _quantize(self, node):
        """Rounds the result of a node to the scale of its inputs, if they share one."""
        from onnx import helper

        data = node.input if node.op_type == "Concat" else node.input[:1]
        found = [self._quantizing(name) for name in data]
        if None in found or len({self._parameters(each) for each in found}) > 1:
            return
        output, parameters = node.output[0], list(found[0].input[1:])
        node.output[0], integers = f"{output}_float", f"{output}_integers"
        self.nodes += [
            helper.make_node(
                "QuantizeLinear", [node.output[0], *parameters], [integers], integers
            ),
            helper.make_node(
                "DequantizeLinear",
                [integers, *parameters],
                [output],
                f"{output}_rounded",
            ),
        ]


def _scales(weights, axis):
    """Returns a scale per channel; None if the weights are not rounded."""
    others = tuple(i for i in range(weights.ndim) if i != axis)
    largest = np.abs(weights.astype("float64")).max(others, keepdims=True)
    scales = np.where(largest > 0, largest / LIMIT, 0.0)
    exact = weights / np.where(largest > 0, scales, 1.0)
    if np.abs(exact - np.rint(exact)).max() > _EXACT:
        return None
    # Below, float32 has no normal numbers; such weights become 0.
    return np.maximum(scales.ravel(), _SMALLEST)
