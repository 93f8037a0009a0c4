"""Runs the training step on JAX."""

import contextlib
import functools
import re

import jax
import keras
import numpy as np

from keras_diffkd.training import logs
from keras_diffkd.training.divergence import is_healthy
from keras_diffkd.training.finite import has_overflowed, keep_if_skipped
from keras_diffkd.training.jax.unchecked import (
    UncheckedStep,
    check,
    healthy_so_far,
    trained_variables,
)
from keras_diffkd.training.loss_balance import balanced_state
from keras_diffkd.training.masks import masked
from keras_diffkd.training.state import state_variables
from keras_diffkd.training.task_loss import num_label_classes
from keras_diffkd.training.values import Batch, StepValues
from keras_diffkd.validation.labels import check_labels

# Matches JAX's errors about an axis that cannot be split over the devices.
UNEVEN = re.compile("evenly divide|divisible by")

without_gradients = contextlib.nullcontext


def keras_jit_compile(jit_compile):
    """Returns the `jit_compile` of `evaluate` and `predict`, which Keras compiles."""
    return jit_compile


def make_train_function(distiller, make, force):
    """Makes the function that runs a batch, compiled unless `jit_compile` is off.

    Keras would compile `train_step`. The teacher's weights, which Keras does not know,
    would be constants there: slow to compile, and outdated when the teacher changes.
    Compilation by Keras is therefore off, and the weights are arguments here.
    """
    if distiller.train_function is not None and not force:
        return
    whole_step = functools.partial(_whole_step, distiller)
    jit_compile = distiller.jit_compile
    if jit_compile:
        whole_step = jax.jit(
            whole_step, donate_argnums=0, out_shardings=_shardings(distiller)
        )
    distiller.record.compiled_step = whole_step
    distiller.jit_compile = False
    try:
        make(force=force)
    finally:
        distiller.jit_compile = jit_compile


def build_compiled(distiller, x, y):
    """Does nothing, because Keras builds optimizer, loss and metrics before tracing."""


def train_step(distiller, state, data):
    """Runs one training step and returns the logs and the new state."""
    _, y, _ = keras.utils.unpack_x_y_sample_weight(data)
    _check_labels(y, num_label_classes(distiller))
    record = distiller.record
    record.loss_weights.refresh(distiller)
    teacher = [variable.value for variable in record.teacher_variables]
    numbers = record.loss_weights.variable.value
    arguments = (teacher, numbers, healthy_so_far(distiller, state), data)
    try:
        result = _run(distiller, state, *arguments)
    except _MoreIsAssignedError:
        result = _run(distiller, state, *arguments)
    of_batch, healthy, diagnosis, state = result
    check(distiller, state)
    record.unchecked = UncheckedStep(healthy, diagnosis, data, state)
    if record.waits_for_steps:
        check(distiller)
    return of_batch, state


def state_sync(distiller, sync):
    """Assigns the variables, unless the last step was not finite."""
    check(distiller)
    sync()


class _MoreIsAssignedError(Exception):
    """Stops the tracing of a step that assigns variables that were not passed in."""


def _run(distiller, state, *arguments):
    """Runs the step and assigns the variables that Keras does not know."""
    unknown = _unknown(distiller)
    values = [variable.value for variable in unknown]
    run = distiller.record.compiled_step
    *results, values = run(state, values, *arguments)
    for variable, value in zip(unknown, values, strict=True):
        variable.assign(value)
    return results


def _unknown(distiller):
    """Returns the variables that a step assigns but Keras's training state lacks."""
    if not distiller.record.assigned:
        return []
    known = {id(v) for group in trained_variables(distiller) for v in group}
    return [v for v in distiller.record.assigned if id(v) not in known]


def test_step(distiller, keras_test_step, state, data):
    """Evaluates the student and removes the logs of training."""
    of_batch, state = keras_test_step(state, data)
    return logs.of_validation(distiller, of_batch), state


def predict_step(distiller, keras_predict_step, state, data):
    """Runs the student as Keras does."""
    return keras_predict_step(state, data)


@contextlib.contextmanager
def data_errors_as_value_errors():
    """Adds advice to errors about a batch that cannot be split over the devices."""
    try:
        yield
    except ValueError as error:
        distribution = keras.distribution.distribution()
        if distribution is None or not UNEVEN.search(str(error)):
            raise
        raise ValueError(
            "The size of every batch, including the last one, must be divisible by the "
            "number of devices of the distribution (device mesh of shape "
            f"{distribution.device_mesh.shape}). Received: {error}. Use another batch "
            "size, or drop the rest with `dataset.batch(size, drop_remainder=True)`."
        ) from None


def read_generators():
    """Returns an empty list: Keras keeps the states of generators in variables."""
    return []


def assign_generators(states):
    """Does nothing (see `read_generators`)."""


def is_chief(model):
    """Returns whether this process writes the files that all processes share."""
    return jax.process_index() == 0


def _whole_step(distiller, state, unknown_values, teacher, numbers, so_far, data):
    """Returns `(logs, healthy, diagnosis, new state, unknown)` without side effects.

    If this step or one before it is not healthy, the new state is the old one.

    Raises:
        _MoreIsAssignedError: If the step assigns variables whose values were not
        passed.
    """
    trainable, _, optimizer_values, _ = state
    batch = Batch(
        *keras.utils.unpack_x_y_sample_weight(jax.tree.map(jax.numpy.asarray, data))
    )
    optimizer, record = distiller.optimizer, distiller.record
    loss_weights = record.loss_weights
    with _scope(
        [*optimizer.variables, loss_weights.variable], [*optimizer_values, numbers]
    ):
        loss_scale = optimizer.scale_loss(1.0)
        weights = loss_weights.next(optimizer)
    # The means of a loss with several outputs are among Keras's metrics.
    values = {
        id(variable): value
        for variables, group in zip(trained_variables(distiller), state, strict=True)
        for variable, value in zip(variables, group, strict=True)
    }
    unknown = _unknown(distiller)
    values.update(zip(map(id, unknown), unknown_values, strict=True))
    changed = state_variables(distiller)
    old_values = [values[id(variable)] for variable in changed]
    gradients, finite, results = record.gradients(
        StepValues(
            trainable, old_values, teacher, weights, seed=0, loss_scale=loss_scale
        ),
        batch,
    )
    if len(state_variables(distiller)) > len(changed):
        raise _MoreIsAssignedError
    norms = results.squared_norms
    new_values = balanced_state(distiller, changed, results.state, norms)
    skipped = jax.numpy.array(False)
    if record.count.can_skip:
        skipped = has_overflowed(distiller, finite)
        new_values = keep_if_skipped(skipped, old_values, new_values)
    values.update(zip(map(id, changed), new_values, strict=True))
    # As in plain Keras, the optimizer updates the values the forward pass assigned.
    trainable, optimizer_values = optimizer.stateless_apply(
        optimizer_values,
        gradients,
        [values[id(variable)] for variable in distiller.trainable_variables],
    )
    metrics = distiller.metrics_variables
    count = record.count
    with _scope(metrics, [values[id(variable)] for variable in metrics]) as scope:
        count.update_state(skipped)
        healthy = jax.numpy.logical_and(so_far, is_healthy(distiller, finite))
        diagnosis = {
            "finite": finite,
            "steps": count.steps + 0,
            "in_a_row": count.in_a_row + 0,
        }
        of_batch = logs.update_metrics(
            distiller, results.losses, batch, masked(*results.y_pred)
        )
    new_state = (
        trainable,
        [values[id(variable)] for variable in distiller.non_trainable_variables],
        optimizer_values,
        [scope.get_current_value(variable) for variable in metrics],
    )
    new_unknown = [values[id(variable)] for variable in unknown]
    state, unknown_values = jax.tree.map(
        lambda old, new: jax.numpy.where(healthy, new, old),
        (state, unknown_values),
        (new_state, new_unknown),
    )
    return of_batch, healthy, diagnosis, state, unknown_values


def _scope(variables, values):
    return keras.StatelessScope(list(zip(variables, values, strict=True)))


def _shardings(distiller):
    """Returns the shardings of the step's results: those of its inputs.

    Raises:
        ValueError: If variables are not on the devices of the distribution.
    """
    if keras.distribution.distribution() is None:
        return None
    groups = trained_variables(distiller)
    for variable in (*keras.tree.flatten(groups), *distiller.record.teacher_variables):
        if isinstance(variable.value.sharding, jax.sharding.SingleDeviceSharding):
            raise ValueError(
                "Teacher, student and distiller must be created, loaded and compiled "
                "under the distribution. Received: the variable "
                f"{variable.path!r} on {variable.value.sharding}. Call "
                "`keras.distribution.set_distribution` before you create the models."
            )
    kept = tuple([v.value.sharding for v in group] for group in groups)
    flag = distiller.record.count.steps.value.sharding
    return None, flag, None, kept, None


def _check_labels(y, classes):
    """Raises `ValueError` for labels that the loss would turn into NaN.

    It runs on the host before the step, because compiled code cannot raise.
    """
    if isinstance(y, jax.core.Tracer):
        return
    if isinstance(y, jax.Array):
        for shard in y.addressable_shards:
            check_labels(np.asarray(shard.data), classes)
    elif isinstance(y, np.ndarray):
        check_labels(y, classes)
