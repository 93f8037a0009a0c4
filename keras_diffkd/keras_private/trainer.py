"""Accesses compiled models, their optimizers and their callbacks."""

import contextlib
import threading

# The method with which an optimizer sums gradients over the replicas.
REDUCTION = "_all_reduce_sum_gradients"
_reduction_lock = threading.Lock()


def check_compiled(model, method_name):
    """Raises the same `ValueError` as `fit` if a model is not compiled."""
    model._assert_compile_called(method_name)


def compile_loss_of(model):
    """Returns the container of the compiled losses, or `None` without a loss."""
    return model._compile_loss


def compile_metrics_of(model):
    """Returns the container of the compiled metrics, or `None` without metrics."""
    return model._compile_metrics


def loss_tracker_of(model):
    """Returns the metric of a compiled model that the logs report as `loss`."""
    return model._loss_tracker


def build_metrics(model, batch):
    """Creates the variables of a model's losses and metrics from a batch.

    Args:
        model: A compiled and built `keras.Model`.
        batch: Batch of data, as in `fit`.
    """
    model._symbolic_build(data_batch=batch)


def set_initial_epoch(model, epoch):
    """Sets the first epoch of `fit`, or `None` for its argument `initial_epoch`."""
    model._initial_epoch = epoch


def keep_variables(model):
    """Marks the variables of a model as up to date, for Keras's trainer on JAX."""
    model._jax_state_synced = True


def model_of(callback):
    """Returns a callback's model without updating its variables first on JAX."""
    return callback._model


def optimizer_step(optimizer):
    """Returns the step variable that learning rate schedules use."""
    return optimizer._iterations


def learning_rate(optimizer):
    """Returns the variable or schedule of an optimizer's learning rate."""
    return optimizer._learning_rate


class _NoReduction:
    """Replaces an optimizer's reduction and returns the gradients unchanged.

    Attributes:
        users: Integer, the number of threads in the context. Each replica has one.
    """

    users = 0

    def __call__(self, gradients_and_variables):
        return list(gradients_and_variables)


@contextlib.contextmanager
def without_reduction(optimizer):
    """Stops an optimizer from summing its gradients over the replicas."""
    attributes = vars(optimizer)
    with _reduction_lock:
        replacement = attributes.setdefault(REDUCTION, _NoReduction())
        replacement.users += 1
    try:
        yield
    finally:
        with _reduction_lock:
            replacement.users -= 1
            if not replacement.users:
                del attributes[REDUCTION]
