"""Tells the graphs of control flow from the graph around them."""

import tensorflow as tf


def current_graph():
    """Returns the graph in which operations are created, or `None` in eager mode."""
    if tf.executing_eagerly():
        return None
    return tf.compat.v1.get_default_graph()


def is_inside(graph):
    """Returns whether the current graph is a branch or a loop's body inside another.

    Args:
        graph: A graph that `current_graph` returned earlier.
    """
    inner = current_graph()
    while inner is not None and inner is not graph:
        outer = getattr(inner, "outer_graph", None)
        # The outermost graph of Python is that of eager mode.
        if outer is graph or (graph is None and outer is not None):
            return True
        inner = outer
    return False
