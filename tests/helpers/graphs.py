"""TensorFlow's graphs, in processes that trace many and run each a few times."""

import functools
import typing

import tensorflow as tf
from tensorflow.python.ops import gen_resource_variable_ops
from tensorflow.python.util import tf_stack


def optimize_no_graphs():
    """Runs graphs as they are traced.

    Looking through a step of DiffKD takes TensorFlow longer than the few steps that a
    test runs. The scripts that tests start as processes, such as those on several
    replicas, run with the optimizations that users have.
    """
    tf.config.optimizer.set_experimental_options({"min_graph_nodes": 1_000_000})


def note_less():
    """Leaves out what TensorFlow notes for error messages and debuggers.

    Together it takes a tenth of the tests' time: the Python stack at each operation of
    a graph, and the name of each variable, for which TensorFlow prepares the operation
    that makes variables anew. Before Python 3.12, `typing` collects the attributes of a
    protocol each time that something is asked whether it is a tensor.
    """
    stack = tf_stack.extract_stack()
    tf_stack.extract_stack = lambda stacklevel=1: stack

    handle_of = gen_resource_variable_ops.var_handle_op

    @functools.wraps(handle_of)
    def without_name(*args, **kwargs):
        if tf.executing_eagerly():
            kwargs["debug_name"] = ""
        return handle_of(*args, **kwargs)

    gen_resource_variable_ops.var_handle_op = without_name
    if hasattr(typing, "_get_protocol_attrs"):
        typing._get_protocol_attrs = functools.cache(typing._get_protocol_attrs)
