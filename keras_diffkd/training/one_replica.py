"""What backends have in common on which a process has one replica: JAX and PyTorch."""

import keras


def unscaled(loss):
    """Returns the mean loss of the batch: Keras scales nothing here."""
    return loss


def loss_of_replica(compute_loss, own):
    """Runs what computes the task loss: Keras scales nothing here."""
    return compute_loss()


def read(model, variables):
    """Returns the variables' values as NumPy arrays."""
    return [keras.ops.convert_to_numpy(variable.value) for variable in variables]


def replica_reader(model, variables):
    """Returns a function that reads variables, for the one replica that there is."""
    return lambda: [value[None] for value in read(model, variables)]


def assign_replicas(model, variables, values, summed):
    """Gives the one replica that there is its values; see `training`."""
    for variable, of_replicas in zip(variables, values, strict=True):
        variable.assign(of_replicas.sum(0) if summed else of_replicas[0])


def numbers_of_workers(model, number):
    """Returns the number alone: nothing is known of other processes here."""
    return [number]
