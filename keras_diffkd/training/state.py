"""Lists the variables that a step reads and changes."""

from keras_diffkd.keras_private.layers import all_layers, own_metrics
from keras_diffkd.training.scope import is_seed
from keras_diffkd.training.task_loss import loss_means


def state_variables(distiller):
    """Returns the variables that a forward pass may change.

    Variables that the model does not list as its state come last. The first forward
    pass finds them, so the list may be longer after a step than before it.
    """
    return [
        *distiller.non_trainable_variables,
        *loss_means(distiller),
        *distiller.record.assigned,
    ]


def remember_assigned(distiller, found):
    """Adds variables that a step assigned to the record, each once.

    Several replicas find the same variables.
    """
    assigned = distiller.record.assigned
    listed = {id(variable) for variable in assigned}
    assigned += [variable for variable in found if id(variable) not in listed]


def metrics_of_layers(distiller):
    """Returns the variables of metrics that layers update in their forward pass."""
    return [
        variable
        for network in (distiller.student, *distiller.methods)
        for layer in all_layers(network)
        for metric in own_metrics(layer)
        for variable in metric.variables
    ]


def only_read(teacher, student):
    """Returns the teacher's variables that a step does not change.

    The step finds the seeds that the teacher draws from, and advances them.
    """
    own = {id(variable) for variable in student.variables}
    return [v for v in teacher.variables if id(v) not in own and not is_seed(v)]


def teacher_seeds(model):
    """Returns the states of the seed generators in a distiller's teacher.

    Args:
        model: A `keras.Model`. Any other than a `Distiller` has none.
    """
    teacher = getattr(getattr(model, "frozen_teacher", None), "model", None)
    return [] if teacher is None else [v for v in teacher.variables if is_seed(v)]
