"""The training step on TensorFlow."""

import contextlib

import keras
import tensorflow as tf

from keras_diffkd.checks import labels_message
from keras_diffkd.train_steps.objective import (
    objective,
    state_variables,
    teacher_variables,
)


def make_gradient_function(distiller, jit_compile):
    """Returns the pure function of a step, under XLA or not.

    It maps `(trainable, state, teacher, x, y, sample_weight, seed, loss_scale)`
    to `(gradients, losses, y_pred, new state)`. Variables, optimizer and metrics
    stay outside: inside one XLA cluster they would tie the step to one device.
    """

    def gradients(trainable, *args):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(trainable)
            loss, results = objective(distiller, trainable, *args)
        slopes = tape.gradient(loss, trainable)
        # Embeddings give sparse slices, which XLA cannot return.
        slopes = [None if g is None else tf.convert_to_tensor(g) for g in slopes]
        return slopes, *results

    if jit_compile == "auto":
        jit_compile = bool(tf.config.list_logical_devices("GPU"))
    return tf.function(gradients, jit_compile=True) if jit_compile else gradients


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
    _assert_labels(y, distiller.num_label_classes())
    _build_loss_and_metrics(distiller, y)
    optimizer = distiller.optimizer
    variables = distiller.trainable_variables
    state = state_variables(distiller)
    slopes, losses, y_pred, new_state = distiller._step.gradients(
        _values(variables),
        _values(state),
        _values(teacher_variables(distiller)),
        x,
        y,
        sample_weight,
        _replica_id(),
        optimizer.scale_loss(tf.ones(())),
    )
    optimizer.apply(slopes, variables)
    for variable, value in zip(state, new_state, strict=True):
        variable.assign(value)
    batch_size = tf.shape(tf.nest.flatten(x)[0])[0]
    distiller._loss_tracker.update_state(losses["loss"], sample_weight=batch_size)
    for name, tracker in distiller._trackers.items():
        tracker.update_state(losses[name], sample_weight=batch_size)
    return distiller.compute_metrics(x, y, y_pred, sample_weight=sample_weight)


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


def _values(variables):
    return [tf.convert_to_tensor(variable.value) for variable in variables]


def _replica_id():
    return tf.convert_to_tensor(
        tf.distribute.get_replica_context().replica_id_in_sync_group, tf.int32
    )


def _assert_labels(y, classes):
    """Fails on labels that the loss would turn into NaN without a word."""
    if classes is None or not tf.is_tensor(y):
        return
    labels = tf.cast(y, tf.int64)
    with tf.device("CPU"):
        tf.debugging.Assert(
            tf.reduce_all((labels >= 0) & (labels < classes)),
            [labels_message(classes, "the batch above that range")],
        )
