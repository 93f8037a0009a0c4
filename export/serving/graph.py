"""The graph of a student in TensorFlow: how to trace it, and what it holds."""

import contextlib

import tensorflow as tf

from keras_diffkd.shared_context import SharedContext

# Dropout draws and advances a seed, batch normalization assigns its statistics.
_TRAINING_PREFIXES = ("Assign", "Random", "StatelessRandom", "StatefulRandom")


@contextlib.contextmanager
def _functions_run_eagerly():
    before = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(before)


_EAGER_FUNCTIONS = SharedContext(_functions_run_eagerly)


def inline_functions():
    """Returns a context that traces inner `tf.function`s into the outer graph.

    Keras wraps grouped convolutions in `tf.function(jit_compile=True)`, which
    neither tf2onnx nor a TensorFlow without XLA can use.

    Example:

    ```python
    with inline_functions():
        tf.function(student).get_concrete_function(spec)
    ```
    """
    return _EAGER_FUNCTIONS.use()


def training_operations(graph):
    """Returns the operations that only training has, as sorted types.

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


def used_variables(trace):
    """Returns the variables that the outputs of a trace are computed from.

    A head for training alone is called, but nobody returns what it gives.

    Args:
        trace: `tf.ConcreteFunction`.

    Example:

    ```python
    used_variables(serving.trace)
    ```
    """
    graph, pending, seen = trace.graph, [t.op for t in trace.outputs], set()
    while pending:
        operation = pending.pop()
        if operation not in seen:
            seen.add(operation)
            # No control inputs: they order all reads, also of unused variables.
            pending.extend(tensor.op for tensor in operation.inputs)
    inner = {id(handle) for handle, tensor in graph.captures if tensor.op in seen}
    return [variable for variable in graph.variables if id(variable.handle) in inner]
