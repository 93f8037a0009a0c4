"""TensorFlow's graphs, in processes that trace many and run each a few times."""

import tensorflow as tf


def optimize_no_graphs():
    """Runs graphs as they are traced.

    Looking through a step of DiffKD takes TensorFlow longer than the few steps that a
    test runs. The scripts that tests start as processes, such as those on several
    replicas, run with the optimizations that users have.
    """
    tf.config.optimizer.set_experimental_options({"min_graph_nodes": 1_000_000})
