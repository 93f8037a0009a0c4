"""A compiled model, its optimizer and its callbacks."""

import contextlib
import threading

# The method by which an optimizer sums gradients over the replicas.
REDUCTION = "_all_reduce_sum_gradients"
_reduction_lock = threading.Lock()


def check_compiled(model, method_name):
    """Raises `ValueError` as `fit` does if a model is not compiled."""
    model._assert_compile_called(method_name)


def compile_loss_of(model):
    """Returns the container of the compiled losses, or `None` without a loss."""
    return model._compile_loss


def compile_metrics_of(model):
    """Returns the container of the compiled metrics, or `None` without metrics."""
    return model._compile_metrics


def loss_tracker_of(model):
    """Returns the metric of a compiled model that its logs call `loss`."""
    return model._loss_tracker


def build_metrics(model, batch):
    """Creates the variables of a model's losses and metrics from a batch.

    Args:
        model: A compiled and built `keras.Model`.
        batch: Batch of data as `fit` gets it.
    """
    model._symbolic_build(data_batch=batch)


def set_initial_epoch(model, epoch):
    """Sets the epoch at which `fit` begins; `None` for its argument `initial_epoch`."""
    model._initial_epoch = epoch


def keep_variables(model):
    """Tells the trainer on JAX that the variables have the values of training."""
    model._jax_state_synced = True


def model_of(callback):
    """Returns a callback's model; on JAX, without bringing its variables up to date."""
    return callback._model


def optimizer_step(optimizer):
    """Returns the variable that schedules of the learning rate follow."""
    return optimizer._iterations


def learning_rate(optimizer):
    """Returns the variable, or the schedule, of an optimizer's learning rate."""
    return optimizer._learning_rate


class _AsTheyAre:
    """Replaces an optimizer's reduction.

    Attributes:
        users: Integer, the threads that need it now: replicas have one each.
    """

    users = 0

    def __call__(self, gradients_and_variables):
        return list(gradients_and_variables)


@contextlib.contextmanager
def without_reduction(optimizer):
    """In this context, an optimizer does not sum its gradients over the replicas."""
    attributes = vars(optimizer)
    with _reduction_lock:
        replacement = attributes.setdefault(REDUCTION, _AsTheyAre())
        replacement.users += 1
    try:
        yield
    finally:
        with _reduction_lock:
            replacement.users -= 1
            if not replacement.users:
                del attributes[REDUCTION]
