"""What can be told from an artefact without running it."""

import importlib.util
from pathlib import Path

# In the graph of TensorFlow: dropout draws and advances a seed, batch normalisation
# assigns its statistics.
_TRAINING_PREFIXES = ("Assign", "Random", "StatelessRandom", "StatefulRandom")
_TRAINING_ONNX = {
    "Bernoulli",
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
}
_TRAINING_TFLITE = {
    "ASSIGN_VARIABLE",
    "MULTINOMIAL",
    "RANDOM_STANDARD_NORMAL",
    "RANDOM_UNIFORM",
}
_BYTES = {"float32": 4, "float16": 2, "dynamic_int8": 1, "int8": 1}
# Of the kernels' bytes: nothing that all formats do saves a fifth of them.
MIN_SHARE = 0.8


def training_operations(graph):
    """Returns what a graph does that only training does, as sorted operation types.

    Args:
        graph: `GraphDef` of TensorFlow.

    Example:

    ```python
    training_operations(serving.trace.graph.as_graph_def())  # []
    ```
    """
    nodes = [*graph.node, *(n for f in graph.library.function for n in f.node_def)]
    return sorted(
        {
            node.op
            for node in nodes
            if node.op.startswith(_TRAINING_PREFIXES)
            or (
                node.op.startswith("FusedBatchNorm")
                and "Grad" not in node.op
                and node.attr["is_training"].b
            )
        }
    )


def find_size_problem(size, precision, serving):
    """Returns why a file is too small to hold the student, as a list of reasons.

    Only kernels count: biases and batch normalisation are folded into others.

    Args:
        size: int, in bytes.
        precision: as in `Format`.
        serving: `Serving` of the student.

    Example:

    ```python
    find_size_problem(400, "float32", serving)  # ["implausibly small: ..."]
    ```
    """
    kernels = sum(
        variable.shape.num_elements()
        for variable in _used_variables(serving.trace)
        if variable.shape.rank > 1
    )
    least = int(MIN_SHARE * kernels * _BYTES[precision])
    if size >= least:
        return []
    return [
        f"implausibly small: {size} bytes for {kernels} kernel weights in "
        f"{precision}, expected at least {least}; weights are missing"
    ]


def _used_variables(trace):
    """Returns the variables that the outputs are computed from.

    A head for training alone is called, but what it gives is not returned.
    """
    graph, pending, seen = trace.graph, [t.op for t in trace.outputs], set()
    while pending:
        operation = pending.pop()
        if operation not in seen:
            seen.add(operation)
            # No control inputs: by these TensorFlow orders all reads, used or not.
            pending.extend(tensor.op for tensor in operation.inputs)
    inner = {id(handle) for handle, tensor in graph.captures if tensor.op in seen}
    return [variable for variable in graph.variables if id(variable.handle) in inner]


def inspect_saved_model(path):
    """Returns what is wrong with the graph of a SavedModel, as a list of reasons.

    Example:

    ```python
    inspect_saved_model("export/saved_model")  # []
    ```
    """
    import tensorflow as tf

    signature = tf.saved_model.load(str(path)).signatures["serving_default"]
    return _training_reasons(training_operations(signature.graph.as_graph_def()))


def inspect_onnx(path):
    """Returns what is wrong with the graph of an ONNX file, as a list of reasons.

    The full check needs the package onnx; where only onnxruntime is installed
    nothing is inspected.

    Example:

    ```python
    inspect_onnx("export/student.onnx")  # []
    ```
    """
    if importlib.util.find_spec("onnx") is None:
        return []
    import onnx

    model = onnx.load(path)
    try:
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:  # Several kinds, none of them common to all.
        return [f"invalid ONNX: {' '.join(str(error).split())[:300]}"]
    # Of Dropout it is a tensor; there is none at all in what is written here.
    found = {
        node.op_type
        for node in model.graph.node
        if node.op_type in _TRAINING_ONNX
        or (node.op_type == "Dropout" and len(node.input) > 2 and node.input[2])
        or any(a.name == "training_mode" and a.i for a in node.attribute)
    }
    return _training_reasons(sorted(found))


def inspect_tflite(path):
    """Returns what is wrong with the operations of a TFLite file.

    Example:

    ```python
    inspect_tflite("export/student.tflite")  # []
    ```
    """
    from ai_edge_litert.tools import flatbuffer_utils

    model = flatbuffer_utils.read_model_from_bytearray(
        bytearray(Path(path).read_bytes())
    )
    custom = sorted(
        code.customCode.decode()
        for code in model.operatorCodes
        if code.customCode is not None
    )
    builtin = flatbuffer_utils.BuiltinOperator
    names = {number: name for name, number in vars(builtin).items()}
    operations = {
        names.get(flatbuffer_utils.get_builtin_code_from_operator_code(code))
        for code in model.operatorCodes
    }
    reasons = _training_reasons(sorted(operations & _TRAINING_TFLITE))
    if custom:
        reasons.append(
            "needs operations that the interpreter does not have (Flex or custom): "
            f"{', '.join(custom)}"
        )
    return reasons


INSPECTORS = {
    "saved_model": inspect_saved_model,
    "onnx": inspect_onnx,
    "tflite": inspect_tflite,
}


def _training_reasons(operations):
    if not operations:
        return []
    return [f"is in training mode: its graph has {', '.join(operations)}"]
