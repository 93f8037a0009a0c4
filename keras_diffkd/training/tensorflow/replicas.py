"""Handles the replicas of a `tf.distribute` strategy."""

import contextlib
import threading

import keras
import tensorflow as tf

from keras_diffkd.keras_private.patches import scaled_losses
from keras_diffkd.keras_private.scopes import make_global_seed, use_global_seed


class Replicas:
    """Describes this replica among the replicas of a strategy, for one step.

    Args:
        batch_size: Integer tensor, the number of samples on this replica. It may be 0
            in the last batch of an epoch.
    """

    def __init__(self, batch_size):
        self.context = tf.distribute.get_replica_context()
        self.id = tf.convert_to_tensor(self.context.replica_id_in_sync_group, tf.int32)
        self.count = self.context.num_replicas_in_sync
        self.batch_size = batch_size
        self.is_first = tf.cast(self.id == 0, tf.float32)
        self.share = tf.ones(())
        if self.count > 1:
            local = tf.cast(batch_size, tf.float32)
            self.share = local / self.context.all_reduce("SUM", local)
        self.is_idle = self.share == 0

    def use_seed_generator(self, generator):
        """Sets Keras's global seed generator to one created outside the replicas.

        Each replica is traced in its own thread, where Keras would create another one.
        """
        if self.count > 1 and generator is not None:
            use_global_seed(generator)

    def fill(self, data):
        """Adds a sample of zeros on a replica without samples, for convolutions."""
        if self.count == 1:
            return data
        missing = tf.cast(self.batch_size == 0, tf.int32)

        def pad(tensor):
            if tensor is None:
                return None
            first = [[0, missing]]
            return tf.pad(tensor, first + [[0, 0]] * (len(tensor.shape) - 1))

        return tf.nest.map_structure(pad, data)

    def trim(self, y_pred):
        """Removes the sample that `fill` added."""
        if self.count == 1:
            return y_pred
        return tf.nest.map_structure(
            lambda t: None if t is None else t[: self.batch_size], y_pred
        )

    def zero_if_idle(self, tensor):
        """Returns the tensor, or zeros on a replica without samples, instead of NaN."""
        if self.count == 1 or tensor is None:
            return tensor
        return tf.where(self.share > 0, tensor, tf.zeros_like(tensor))

    def sum_squares(self, squares):
        """Sums squared norms of gradients over the replicas, each with its share."""
        if self.count == 1 or squares is None:
            return squares
        squares = self.zero_if_idle(squares) * self.share**2
        return self.context.all_reduce("SUM", squares)

    def any(self, flag):
        """Returns whether a boolean scalar is true on a replica with samples."""
        if self.count == 1:
            return flag
        flag = tf.cast(flag & ~self.is_idle, tf.float32)
        return self.context.all_reduce("SUM", flag) > 0

    def average(self, state):
        """Averages the state over the replicas, weighted by their samples.

        Integers (the counters of seed generators) are equal on all replicas.
        """
        if self.count == 1:
            return state
        floats = [value for value in state if value.dtype.is_floating]
        weighted = [
            self.zero_if_idle(value) * tf.cast(self.share, value.dtype)
            for value in floats
        ]
        averaged = iter(self.context.all_reduce("SUM", weighted) if weighted else [])
        return [next(averaged) if v.dtype.is_floating else v for v in state]

    def logs(self, distiller, logs):
        """Returns the logs of the global batch.

        Each replica has its own metrics, and Keras averages their results as if all
        replicas had the same number of samples. The variables of metrics are sums, so
        the result of the summed variables is that of the global batch.
        """
        if self.count == 1:
            return logs
        variables = distiller.metrics_variables
        # `tf.identity` places the values on a device, which `all_reduce` needs.
        values = [tf.identity(tf.convert_to_tensor(v.value)) for v in variables]
        # Each dtype is reduced separately, because some metrics count in integers.
        sums = list(values)
        for dtype in dict.fromkeys(value.dtype for value in values):
            alike = [i for i, value in enumerate(values) if value.dtype == dtype]
            reduced = self.context.all_reduce("SUM", [values[i] for i in alike])
            for i, value in zip(alike, reduced, strict=True):
                sums[i] = value
        with keras.StatelessScope(list(zip(variables, sums, strict=True))):
            of_all = distiller.get_metrics_result()
        logs = {name: of_all.get(name, value) for name, value in logs.items()}
        if not is_multi_worker(self.context.strategy):
            return logs
        # On several machines, Keras averages the logs along an extra axis.
        return {name: value[tf.newaxis] for name, value in logs.items()}


def seed_generator_of_all(distiller):
    """Returns the global seed generator that all replicas share, `None` for one."""
    strategy = distiller.distribute_strategy
    if strategy.num_replicas_in_sync == 1:
        return None
    with strategy.scope():
        return make_global_seed()


# Holds the value of `sharing` per thread: each replica is traced in its own thread.
_current = threading.local()


@contextlib.contextmanager
def sharing(share):
    """Scales Keras's losses by this replica's share of the batch inside the context.

    Args:
        share: float32 scalar tensor.
    """
    _current.share = share
    try:
        yield
    finally:
        del _current.share


def loss_of_replica(compute_loss, own):
    """Computes the task loss for a step that weights replicas by their share.

    Keras divides means by the number of replicas, which is right only if all have the
    same number of samples, and does not change sums. Here means are multiplied by the
    share and sums are not changed. Summed over the replicas, both are those of the
    global batch.

    A student's own loss sees only the samples of this replica. It counts as a mean,
    however it is computed: a detector divides its sums over the anchors by their number
    itself.

    Args:
        compute_loss: Callable that computes the loss.
        own: Boolean, whether it is the student's own loss.
    """
    if _replicas() == 1:
        return compute_loss()
    share = _share()

    def scaled(value):
        return value if own else value * tf.cast(share, value.dtype)

    def unscale(value):
        return value if own else unscaled(value)

    with scaled_losses(scaled, unscale):
        loss = compute_loss()
    return loss * tf.cast(share, loss.dtype) if own else loss


def unscaled(loss):
    """Undoes the scaling of `loss_of_replica`, because the step applies the share."""
    if _replicas() == 1:
        return loss
    share = tf.cast(_share(), loss.dtype)
    return loss / tf.where(share > 0, share, tf.ones_like(share))


def _share():
    return getattr(_current, "share", 1 / _replicas())


def _replicas():
    return tf.distribute.get_strategy().num_replicas_in_sync


def is_multi_worker(strategy):
    """Returns whether the replicas of a strategy are on several machines."""
    is_collective = isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
    return is_collective and strategy.extended._in_multi_worker_mode()


def check_scope(distiller):
    """Raises `ValueError` unless all models were created in the strategy's scope."""
    strategy = distiller.distribute_strategy
    if tf.distribute.has_strategy() and tf.distribute.get_strategy() is not strategy:
        raise ValueError(
            "The Distiller was created outside the strategy's scope and would train on "
            "one device. Received: the current strategy "
            f"{type(tf.distribute.get_strategy()).__name__}. Create teacher, student "
            "and Distiller inside `with strategy.scope():`."
        )
    if strategy.num_replicas_in_sync == 1:
        return
    models = {"teacher": distiller.teacher, "student": distiller.student}
    for whose, model in models.items():
        for variable in model.variables if model is not None else ():
            if not strategy.extended.variable_created_in_scope(variable.value):
                raise ValueError(
                    f"The {whose} {model.name!r} was created outside the strategy's "
                    "scope, so its variables are on one device. Received: the variable "
                    f"{variable.path!r}. Create (or load) teacher and student inside "
                    "`with strategy.scope():`."
                )
