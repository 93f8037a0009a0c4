"""Implements replica functions for JAX and PyTorch, with one replica per process."""

import keras


def unscaled(loss):
    """Returns the loss unchanged: Keras does not scale it here."""
    return loss


def loss_of_replica(compute_loss, own):
    """Computes the task loss, which Keras does not scale here."""
    return compute_loss()


def read(model, variables):
    """Returns the variables' values as NumPy arrays."""
    return [keras.ops.convert_to_numpy(variable.value) for variable in variables]


def replica_reader(model, variables):
    """Returns a function that reads the variables of the only replica."""
    return lambda: [value[None] for value in read(model, variables)]


def assign_replicas(model, variables, values, summed):
    """Assigns values to the variables of the only replica.

    Args:
        model: The model.
        variables: List of variables.
        values: List with one array for each variable, replicas on the first axis.
        summed: Boolean, whether to assign the sum over the replicas.
    """
    for variable, of_replicas in zip(variables, values, strict=True):
        variable.assign(of_replicas.sum(0) if summed else of_replicas[0])


def numbers_of_workers(model, number):
    """Returns `[number]`: other processes are unknown here."""
    return [number]


def is_tracing():
    """Returns whether layers run on symbols whose values are not known yet.

    Traced code of these backends reads no variables: Keras passes their values.
    """
    return False
