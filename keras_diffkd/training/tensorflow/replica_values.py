"""Reads and assigns variables on the replicas of a `tf.distribute` strategy."""

import numpy as np
import tensorflow as tf

from keras_diffkd.training import one_replica
from keras_diffkd.training.tensorflow.replicas import is_multi_worker


def is_chief(model):
    """Returns whether this process writes the files that all workers share."""
    strategy = model.distribute_strategy
    return not is_multi_worker(strategy) or strategy.cluster_resolver.task_id == 0


def numbers_of_workers(model, number):
    """Returns the numbers that the replicas of all workers passed, as a list."""
    strategy = model.distribute_strategy
    if not is_multi_worker(strategy):
        return [number]

    def of_this_replica():
        context = tf.distribute.get_replica_context()
        return context.all_gather(tf.constant([number], tf.int64), axis=0)

    gathered = tf.function(lambda: strategy.run(of_this_replica), autograph=False)()
    return strategy.experimental_local_results(gathered)[0].numpy().tolist()


def read(model, variables):
    """Returns the values of variables that are equal on every replica."""
    strategy = model.distribute_strategy
    return [_value(_parts(strategy, variable)[0]) for variable in variables]


def replica_reader(model, variables):
    """Returns a function that reads the values of all replicas, on the first axis."""
    strategy = model.distribute_strategy
    if not is_multi_worker(strategy):
        return lambda: [
            np.stack([_value(part) for part in _parts(strategy, variable)])
            for variable in variables
        ]

    def of_this_replica():
        context = tf.distribute.get_replica_context()
        values = [tf.convert_to_tensor(v.value)[tf.newaxis] for v in variables]
        return context.all_gather(values, axis=0)

    gather = tf.function(lambda: strategy.run(of_this_replica), autograph=False)
    # All replicas have gathered the same values.
    return lambda: [
        strategy.experimental_local_results(value)[0].numpy() for value in gather()
    ]


def assign_replicas(model, variables, values, summed):
    """Assigns values to the variables of every replica on this worker.

    Args:
        model: The model.
        variables: List of variables.
        values: List with one array for each variable, replicas on the first axis.
        summed: Boolean, whether to keep the sum if the number of replicas changed.
            Otherwise each replica gets the values of the first one.
    """
    strategy = model.distribute_strategy
    count = strategy.num_replicas_in_sync
    if count == 1:
        one_replica.assign_replicas(model, variables, values, summed)
        return
    for variable, of_replicas in zip(variables, values, strict=True):
        parts = _parts(strategy, variable)
        first = 0
        if is_multi_worker(strategy):
            first = strategy.cluster_resolver.task_id * len(parts)
        if len(of_replicas) != count:
            of_replicas = _for_other_count(of_replicas, count, summed)
        for index, part in enumerate(parts):
            part.assign(of_replicas[first + index])


def is_tracing():
    """Returns whether layers run on symbols whose values are not known yet."""
    return tf.inside_function()


def _value(variable):
    # Takes a third of the time of `variable.numpy()`, for hundreds of variables.
    value = tf.raw_ops.ReadVariableOp(resource=variable.handle, dtype=variable.dtype)
    return value.numpy()


def _parts(strategy, variable):
    return strategy.experimental_local_results(variable.value)


def _for_other_count(values, count, summed):
    if not summed:
        return [values[0]] * count
    return [values.sum(0), *[np.zeros_like(values[0])] * (count - 1)]
