"""Runs the training step on TensorFlow."""

import contextlib
import re

import keras
import tensorflow as tf

from keras_diffkd.keras_private.trainer import loss_tracker_of
from keras_diffkd.training import logs, task_loss
from keras_diffkd.training.finite import has_overflowed, keep_if_skipped
from keras_diffkd.training.loss_balance import balanced_state
from keras_diffkd.training.masks import masked, with_masks
from keras_diffkd.training.state import state_variables
from keras_diffkd.training.tensorflow.build import build_loss_and_metrics
from keras_diffkd.training.tensorflow.gradients import values_of
from keras_diffkd.training.tensorflow.guard import guard, raising_diverged
from keras_diffkd.training.tensorflow.reduced_gradients import (
    apply_reduced,
    check_optimizer,
)
from keras_diffkd.training.tensorflow.replicas import (
    Replicas,
    seed_generator_of_all,
    sharing,
    unscaled,
)
from keras_diffkd.training.untrained import trained_pairs
from keras_diffkd.training.values import Batch, StepValues
from keras_diffkd.validation.labels import labels_message

# Begins the message of `labels_message`.
LABELS_OUTSIDE = re.compile(r"Labels must lie in 0 to (\d+)")

without_gradients = contextlib.nullcontext


def keras_jit_compile(jit_compile):
    """Returns `False`, because XLA around the whole step breaks under distribution.

    `make_gradient_function` compiles only the pure part of the step.
    """
    return False


def make_train_function(distiller, make, force):
    """Makes Keras's function that runs a batch, with an error if training diverges."""
    if distiller.train_function is not None and not force:
        return
    check_optimizer(distiller.optimizer, distiller.distribute_strategy)
    if not distiller.optimizer.built:
        # Variables that are made in a trace make TensorFlow trace the step twice.
        with distiller.distribute_strategy.scope():
            distiller.optimizer.build(distiller.trainable_variables)
    distiller.record.seed_generator = seed_generator_of_all(distiller)
    make(force=force)
    distiller.train_function = raising_diverged(distiller, distiller.train_function)


def train_step(distiller, data):
    """Runs one training step and returns the logs."""
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    y = _checked_labels(y, task_loss.num_label_classes(distiller))
    build_loss_and_metrics(distiller, y)
    record, optimizer = distiller.record, distiller.optimizer
    batch = Batch(x, y, sample_weight)
    replicas = Replicas(batch_size=tf.shape(tf.nest.flatten(x)[0])[0])
    replicas.use_seed_generator(record.seed_generator)
    values = StepValues(
        trainable=values_of(distiller.trainable_variables),
        state=values_of(state_variables(distiller)),
        teacher=values_of(distiller.record.teacher_variables),
        loss_weights=record.loss_weights.next(optimizer),
        seed=replicas.id,
        loss_scale=optimizer.scale_loss(replicas.share),
    )
    gradients, finite, results = record.gradients(
        replicas.share, values, replicas.fill(batch)
    )
    state = state_variables(distiller)  # The step may have found more of them.
    gradients = [replicas.zero_if_idle(gradient) for gradient in gradients]
    norms = replicas.sum_squares(results.squared_norms)
    skipped = tf.constant(False)
    new_state = balanced_state(distiller, state, results.state, norms)
    if record.count.can_skip:
        skipped = replicas.any(has_overflowed(distiller, finite))
        new_state = keep_if_skipped(skipped, values_of(state), new_state)
    record.count.update_state(skipped, replicas.is_first)
    healthy = guard(distiller, replicas, finite, batch)
    # In eager mode, the guard has already raised or passed and is not an operation.
    with tf.control_dependencies([healthy] if tf.inside_function() else []):
        # As in plain Keras, the optimizer updates the values the forward pass assigned.
        _assign(state, replicas.average(new_state))
        apply_reduced(optimizer, *trained_pairs(distiller, gradients))
        losses = {
            name: replicas.zero_if_idle(value) for name, value in results.losses.items()
        }
        y_pred = masked(*replicas.trim(results.y_pred))
        of_batch = logs.update_metrics(
            distiller, losses, batch, y_pred, replicas.batch_size
        )
        return replicas.logs(distiller, of_batch)


def test_step(distiller, keras_test_step, data):
    """Evaluates the student, and unlike Keras also handles idle replicas correctly."""
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    build_loss_and_metrics(distiller, y)
    replicas = Replicas(batch_size=tf.shape(tf.nest.flatten(x)[0])[0])
    filled_x, filled_y, filled_weight = replicas.fill((x, y, sample_weight))
    y_pred = distiller(filled_x, training=False)
    with sharing(replicas.share):
        loss = unscaled(
            distiller.compute_loss(
                x=filled_x,
                y=filled_y,
                y_pred=y_pred,
                sample_weight=filled_weight,
                training=False,
            )
        )
    means = task_loss.loss_means(distiller)
    _assign(means, replicas.average(values_of(means)))
    loss_tracker_of(distiller).update_state(
        replicas.zero_if_idle(loss), sample_weight=replicas.batch_size
    )
    y_pred = masked(*replicas.trim(with_masks(y_pred)))
    of_batch = distiller.compute_metrics(x, y, y_pred, sample_weight=sample_weight)
    return replicas.logs(distiller, logs.of_validation(distiller, of_batch))


def predict_step(distiller, keras_predict_step, data):
    """Runs the student, even on replicas without samples."""
    x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
    replicas = Replicas(batch_size=tf.shape(tf.nest.flatten(x)[0])[0])
    return replicas.trim(distiller(replicas.fill(x), training=False))


def read_generators():
    """Returns an empty list: Keras keeps the states of generators in variables."""
    return []


def assign_generators(states):
    """Does nothing (see `read_generators`)."""


@contextlib.contextmanager
def data_errors_as_value_errors():
    """Turns failed assertions on labels into `ValueError`s."""
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        last_class = LABELS_OUTSIDE.search(error.message)
        if last_class is None:
            raise
        # The runtime adds names of graph nodes to the message and escapes its quotes.
        raise ValueError(_outside(int(last_class[1]) + 1)) from None


def _assign(variables, values):
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _outside(classes):
    return labels_message(classes, "outside that range")


def _checked_labels(y, classes):
    """Returns `y` and checks that its labels lie in the classes.

    The loss would silently turn other labels into NaN. `y` depends on the check, so
    that no other operation fails on the label first.
    """
    if classes is None or not tf.is_tensor(y):
        return y
    labels = tf.cast(y, tf.int64)
    with tf.device("CPU"):
        check = tf.debugging.Assert(
            tf.reduce_all((labels >= 0) & (labels < classes)),
            [_outside(classes)],
        )
    # In eager mode, the check has already raised or passed and is not an operation.
    with tf.control_dependencies([] if check is None else [check]):
        return tf.identity(y)
