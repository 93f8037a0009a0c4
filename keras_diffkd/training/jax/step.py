"""The training step on JAX."""

import contextlib
import functools
import re

import jax
import keras
import numpy as np

from keras_diffkd.keras_private.trainer import keep_variables
from keras_diffkd.training import logs
from keras_diffkd.training.divergence import diverged, is_healthy
from keras_diffkd.training.finite import has_overflowed, keep_if_skipped
from keras_diffkd.training.masks import masked
from keras_diffkd.training.state import state_variables, teacher_variables
from keras_diffkd.training.step import Batch, StepValues
from keras_diffkd.training.task_loss import num_label_classes
from keras_diffkd.validation.labels import check_labels

# In JAX's error about an axis that cannot be split over the devices.
UNEVEN = re.compile("evenly divide|divisible by")

without_gradients = contextlib.nullcontext


def keras_jit_compile(jit_compile):
    """Returns the `jit_compile` of `evaluate` and `predict`, which Keras compiles."""
    return jit_compile


def make_train_function(distiller, make, force):
    """Makes what runs a batch; compiles the step, if anything is compiled.

    Keras would compile `train_step`, in which the teacher's weights, unknown to
    Keras, are constants: slow to compile, and outdated when the teacher changes.
    So Keras is told to compile nothing, and they become arguments here.
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
    """Does nothing: Keras builds optimizer, loss and metrics before it traces."""


def train_step(distiller, state, data):
    """Runs one step of training and returns the logs and the new state."""
    _, y, _ = keras.utils.unpack_x_y_sample_weight(data)
    _check_labels(y, num_label_classes(distiller))
    loss_weights = distiller.record.loss_weights
    loss_weights.refresh(distiller)
    teacher = [variable.value for variable in teacher_variables(distiller)]
    numbers = loss_weights.variable.value
    try:
        result = _run(distiller, state, teacher, numbers, data)
    except _MoreIsAssignedError:
        result = _run(distiller, state, teacher, numbers, data)
    logs, health, state = result
    if not health["healthy"]:
        _raise_diverged(distiller, health, state, data)
    return logs, state


class _MoreIsAssignedError(Exception):
    """Ends the tracing of a step that assigns variables which were not passed in."""


def _run(distiller, state, teacher, numbers, data):
    """Runs the step, also on variables that are assigned but unknown to Keras."""
    unknown = _unknown(distiller)
    values = [variable.value for variable in unknown]
    run = distiller.record.compiled_step
    logs, health, state, values = run(state, values, teacher, numbers, data)
    for variable, value in zip(unknown, values, strict=True):
        variable.assign(value)
    return logs, health, state


def _unknown(distiller):
    """Returns the variables that a step assigns and Keras's state of training lacks."""
    if not distiller.record.assigned:
        return []
    known = {id(v) for group in _variables(distiller) for v in group}
    return [v for v in distiller.record.assigned if id(v) not in known]


def _raise_diverged(distiller, health, state, data):
    """Raises the error about a step that has left the state as it was."""
    # Keras has taken the values out of the model's variables while it trains.
    for variables, values in zip(_variables(distiller), state, strict=True):
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
    keep_variables(distiller)
    batch = jax.tree.map(np.asarray, keras.utils.unpack_x_y_sample_weight(data))
    raise diverged(
        distiller,
        jax.tree.map(np.asarray, health["finite"]),
        batch,
        health["steps"],
        health["in_a_row"],
    )


def test_step(distiller, keras_test_step, state, data):
    """Evaluates the student, without the logs of training."""
    of_batch, state = keras_test_step(state, data)
    return logs.of_validation(distiller, of_batch), state


def predict_step(distiller, keras_predict_step, state, data):
    """Runs the student as Keras does."""
    return keras_predict_step(state, data)


@contextlib.contextmanager
def data_errors_as_value_errors():
    """Says what to do about a batch that the devices cannot share."""
    try:
        yield
    except ValueError as error:
        distribution = keras.distribution.distribution()
        if distribution is None or not UNEVEN.search(str(error)):
            raise
        raise ValueError(
            "Every batch must be divisible among the devices of the distribution "
            f"(device mesh of shape {distribution.device_mesh.shape}), the last one "
            "too. Choose another batch size, or drop the rest: "
            f"`dataset.batch(size, drop_remainder=True)`. Received: {error}"
        ) from None


def read_generators():
    """Returns nothing: Keras keeps the state of every generator in a variable."""
    return []


def assign_generators(states):
    """Does nothing: see `read_generators`."""


def is_chief(model):
    """Whether this process writes what all have in common."""
    return jax.process_index() == 0


def _whole_step(distiller, state, unknown_values, teacher, numbers, data):
    """The whole step without side effects: `(logs, health, new state, unknown)`.

    If it is not healthy, the new state is the old one.

    Raises:
        _MoreIsAssignedError: If variables are assigned of which no value was passed.
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
    # A loss of several outputs has means, which Keras keeps with the metrics.
    values = {
        id(variable): value
        for variables, group in zip(_variables(distiller), state, strict=True)
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
    new_values = results.state
    if len(state_variables(distiller)) > len(changed):
        raise _MoreIsAssignedError
    skipped = jax.numpy.array(False)
    if record.count.can_skip:
        skipped = has_overflowed(distiller, finite)
        new_values = keep_if_skipped(skipped, old_values, new_values)
    values.update(zip(map(id, changed), new_values, strict=True))
    # As in plain Keras: the optimizer moves what the forward pass has assigned.
    trainable, optimizer_values = optimizer.stateless_apply(
        optimizer_values,
        gradients,
        [values[id(variable)] for variable in distiller.trainable_variables],
    )
    metrics = distiller.metrics_variables
    count = record.count
    with _scope(metrics, [values[id(variable)] for variable in metrics]) as scope:
        count.update_state(skipped)
        health = {
            "healthy": is_healthy(distiller, finite),
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
        lambda old, new: jax.numpy.where(health["healthy"], new, old),
        (state, unknown_values),
        (new_state, new_unknown),
    )
    return of_batch, health, state, unknown_values


def _scope(variables, values):
    return keras.StatelessScope(list(zip(variables, values, strict=True)))


def _variables(distiller):
    """Returns the variables of Keras's state of training, in its order."""
    return (
        distiller.trainable_variables,
        distiller.non_trainable_variables,
        distiller.optimizer.variables,
        distiller.metrics_variables,
    )


def _shardings(distiller):
    """Returns where the compiled step leaves its results: where they came from.

    Raises:
        ValueError: If variables are not on the devices of the distribution.
    """
    if keras.distribution.distribution() is None:
        return None
    groups = _variables(distiller)
    for variable in (*keras.tree.flatten(groups), *teacher_variables(distiller)):
        if isinstance(variable.value.sharding, jax.sharding.SingleDeviceSharding):
            raise ValueError(
                "Teacher, student and distiller must be created, loaded and compiled "
                "under the distribution. Received: the variable "
                f"{variable.path!r} on {variable.value.sharding}. Call "
                "`keras.distribution.set_distribution` first, before the models."
            )
    kept = tuple([v.value.sharding for v in group] for group in groups)
    return None, None, kept, None


def _check_labels(y, classes):
    """Raises `ValueError` on labels that the loss would turn into NaN.

    On the host, before the step: compiled code cannot raise.
    """
    if isinstance(y, jax.core.Tracer):
        return
    if isinstance(y, jax.Array):
        for shard in y.addressable_shards:
            check_labels(np.asarray(shard.data), classes)
    elif isinstance(y, np.ndarray):
        check_labels(y, classes)
