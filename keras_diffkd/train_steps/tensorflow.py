"""The training step on TensorFlow."""

import contextlib

import keras
import tensorflow as tf

from keras_diffkd.checks import labels_message
from keras_diffkd.train_steps.fused_batch_norm import fused
from keras_diffkd.train_steps.objective import (
    objective,
    state_variables,
    teacher_variables,
    update_metrics,
)


def keras_jit_compile(jit_compile):
    """Returns `False`: XLA around the whole step breaks under distribution.

    Only the pure part of the step is compiled, by `make_gradient_function`.
    """
    return False


def make_gradient_function(distiller, jit_compile):
    """Returns the pure function of a step, under XLA or not.

    It maps `(trainable, state, teacher, x, y, sample_weight, seed, loss_scale)`
    to `(gradients, losses, y_pred, new state)`. Variables, optimizer and metrics
    stay outside: inside one XLA cluster they would tie the step to one device.
    """

    if jit_compile == "auto":
        jit_compile = bool(tf.config.list_logical_devices("GPU"))

    def gradients(trainable, *args):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(trainable)
            with fused(*(() if jit_compile else _networks(distiller))):
                loss, results = objective(distiller, trainable, *args)
        slopes = tape.gradient(loss, trainable)
        # Embeddings give sparse slices, which XLA cannot return.
        slopes = [None if g is None else tf.convert_to_tensor(g) for g in slopes]
        return slopes, *results

    return tf.function(gradients, jit_compile=True) if jit_compile else gradients


def gradient(function, x):
    """Returns the gradient of the scalar `function(x)` with respect to `x`."""
    # Cut off on both sides, so that the tape of the step asks for no second order.
    x = tf.stop_gradient(x)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(x)
        value = function(x)
    return tf.stop_gradient(tape.gradient(value, x))


def _networks(distiller):
    """Returns everything that runs in a step."""
    teacher = [distiller.teacher] if distiller.methods else []
    return *teacher, distiller.student, *distiller.methods


def make_train_function(distiller, make, force):
    """Makes what runs a batch: Keras's own."""
    make(force=force)


def build_compiled(distiller, x, y):
    """Creates the variables of optimizer, loss and metrics before tracing.

    A `tf.function` that creates variables is traced twice, and tracing is most
    of the first step. The targets' structure is read off the data set or the
    array; data of other kinds is left to be built on the first batch.
    """
    if isinstance(x, tf.data.Dataset):
        _, y, _ = keras.utils.unpack_x_y_sample_weight(x.element_spec)
    leaves = [leaf for leaf in tf.nest.flatten(y) if leaf is not None]
    with distiller.distribute_strategy.scope():
        distiller.optimizer.build(distiller.trainable_variables)
        if leaves and all(hasattr(leaf, "dtype") for leaf in leaves):
            _build_loss_and_metrics(
                distiller,
                tf.nest.map_structure(
                    lambda leaf: keras.KerasTensor(
                        leaf.shape, keras.backend.standardize_dtype(leaf.dtype)
                    ),
                    y,
                ),
            )


def _build_loss_and_metrics(distiller, y):
    for compiled in (distiller._compile_loss, distiller._compile_metrics):
        if compiled is not None and not compiled.built:
            compiled.build(y, distiller.output_spec)


def train_step(distiller, data):
    """Runs one step of training and returns the logs."""
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    y = _checked_labels(y, distiller.num_label_classes())
    _build_loss_and_metrics(distiller, y)
    optimizer = distiller.optimizer
    variables = distiller.trainable_variables
    state = state_variables(distiller)
    replicas = Replicas(batch_size=tf.shape(tf.nest.flatten(x)[0])[0])
    slopes, losses, y_pred, new_state = distiller._step.gradients(
        _values(variables),
        _values(state),
        _values(teacher_variables(distiller)),
        *replicas.fill((x, y, sample_weight)),
        replicas.id,
        optimizer.scale_loss(replicas.share),
    )
    optimizer.apply([replicas.zero_if_idle(g) for g in slopes], variables)
    for variable, value in zip(state, replicas.average(new_state), strict=True):
        variable.assign(value)
    losses = {name: replicas.zero_if_idle(value) for name, value in losses.items()}
    y_pred = replicas.trim(y_pred)
    return update_metrics(
        distiller, losses, x, y, y_pred, sample_weight, replicas.batch_size
    )


def without_training_logs(distiller, result):
    """Removes what only training measures from the logs of a test step."""
    return {k: v for k, v in result.items() if k not in distiller._trackers}


@contextlib.contextmanager
def data_errors_as_value_errors():
    """Turns our assertions on the data into `ValueError`s."""
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        if "Labels must lie in" not in error.message:
            raise
        # The runtime wraps the message in the name of the failing graph node.
        message = error.message[error.message.index("Labels must lie in") :]
        raise ValueError(message.split("\n")[0]) from None


def unscaled(loss):
    """Undoes Keras's division of a loss by the number of replicas.

    The step weighs replicas by their share of the global batch instead, which
    is right for an uneven last batch too.
    """
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    return loss * tf.cast(replicas, loss.dtype)


class Replicas:
    """What this replica is to the others of the strategy, for one step.

    Args:
        batch_size: Integer tensor, the samples of this replica. May be 0 in the
            last batch of an epoch.
    """

    def __init__(self, batch_size):
        self.context = tf.distribute.get_replica_context()
        self.id = tf.convert_to_tensor(self.context.replica_id_in_sync_group, tf.int32)
        self.count = self.context.num_replicas_in_sync
        self.batch_size = batch_size
        self.share = tf.ones(())
        if self.count > 1:
            local = tf.cast(batch_size, tf.float32)
            self.share = local / self.context.all_reduce("SUM", local)

    def fill(self, data):
        """Gives a replica without samples one of zeros: convolutions need one."""
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
        """Removes what `fill` has added."""
        if self.count == 1:
            return y_pred
        return tf.nest.map_structure(lambda t: t[: self.batch_size], y_pred)

    def zero_if_idle(self, tensor):
        """Returns the tensor, or zeros on a replica without samples (not NaN)."""
        if self.count == 1 or tensor is None:
            return tensor
        return tf.where(self.share > 0, tensor, tf.zeros_like(tensor))

    def average(self, state):
        """Averages what the forward passes changed, weighted by their samples.

        Integers (the counters of seed generators) are the same everywhere.
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


def _values(variables):
    return [tf.convert_to_tensor(variable.value) for variable in variables]


def _checked_labels(y, classes):
    """Fails on labels that the loss would turn into NaN without a word.

    Returns `y`, which waits for the check: otherwise another operation may stumble
    over the label first, with a message of its own.
    """
    if classes is None or not tf.is_tensor(y):
        return y
    labels = tf.cast(y, tf.int64)
    with tf.device("CPU"):
        check = tf.debugging.Assert(
            tf.reduce_all((labels >= 0) & (labels < classes)),
            [labels_message(classes, "outside that range")],
        )
    # Eagerly, the check has raised or passed already and is no operation.
    with tf.control_dependencies([] if check is None else [check]):
        return tf.identity(y)
