"""The graph of a student in TensorFlow: how to trace it, and what it holds."""

import contextlib
import threading

import tensorflow as tf

# Dropout draws and advances a seed, batch normalization assigns its statistics.
_TRAINING_PREFIXES = ("Assign", "Random", "StatelessRandom", "StatefulRandom")


class _Inlining:
    """Counts the blocks that inline functions, in all threads.

    TensorFlow has one setting for the process. The first block that begins changes it
    and the last one that ends restores it.
    """

    def __init__(self):
        self._lock = threading.Lock()
        self._blocks = 0
        self._before = False

    @contextlib.contextmanager
    def block(self):
        with self._lock:
            if not self._blocks:
                self._before = tf.config.functions_run_eagerly()
                tf.config.run_functions_eagerly(True)
            self._blocks += 1
        try:
            yield
        finally:
            with self._lock:
                self._blocks -= 1
                if not self._blocks:
                    tf.config.run_functions_eagerly(self._before)


_inlining = _Inlining()


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
    return _inlining.block()


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
