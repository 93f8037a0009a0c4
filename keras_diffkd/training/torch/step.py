"""Runs the training step on PyTorch."""

import contextlib

import keras
import numpy as np
import torch

from keras_diffkd.training import logs
from keras_diffkd.training.divergence import diverged, is_healthy
from keras_diffkd.training.finite import has_overflowed, keep_if_skipped
from keras_diffkd.training.loss_balance import balanced_state
from keras_diffkd.training.masks import masked
from keras_diffkd.training.state import state_variables
from keras_diffkd.training.task_loss import num_label_classes
from keras_diffkd.training.untrained import trained_pairs
from keras_diffkd.training.values import Batch, StepValues
from keras_diffkd.validation.labels import check_labels

data_errors_as_value_errors = contextlib.nullcontext
without_gradients = torch.no_grad


def keras_jit_compile(jit_compile):
    """Returns `False`, because `evaluate` and `predict` run eagerly."""
    return False


def make_train_function(distiller, make, force):
    """Makes Keras's own function that runs a batch."""
    make(force=force)


def build_compiled(distiller, x, y):
    """Does nothing, because Keras builds optimizer, loss and metrics itself."""


def train_step(distiller, data):
    """Runs one training step and returns the logs."""
    # Moves the batch from the host to the device once, for both models.
    batch = Batch(
        *keras.tree.map_structure(
            lambda t: None if t is None else keras.ops.convert_to_tensor(t),
            keras.utils.unpack_x_y_sample_weight(data),
        )
    )
    if torch.is_tensor(batch.y):
        check_labels(batch.y, num_label_classes(distiller))
    record, optimizer = distiller.record, distiller.optimizer
    record.loss_weights.refresh(distiller)
    values = StepValues(
        trainable=[v.value for v in distiller.trainable_variables],
        state=[v.value for v in state_variables(distiller)],
        # Detached, so that PyTorch keeps no intermediate results for gradients.
        teacher=[v.value.detach() for v in distiller.record.teacher_variables],
        loss_weights=record.loss_weights.next(optimizer),
        seed=0,
        loss_scale=optimizer.scale_loss(1.0),
    )
    gradients, finite, results = record.gradients(values, batch)
    state = state_variables(distiller)  # The step may have found more of them.
    with torch.no_grad():
        count = record.count
        skipped = torch.tensor(False)
        norms = results.squared_norms
        new_state = balanced_state(distiller, state, results.state, norms)
        if count.can_skip:
            skipped = has_overflowed(distiller, finite)
            new_state = keep_if_skipped(skipped, [v.value for v in state], new_state)
        count.update_state(skipped)
        if not is_healthy(distiller, finite):
            finite, arrays = keras.tree.map_structure(_array, (finite, tuple(batch)))
            raise diverged(distiller, finite, arrays, count.steps, count.in_a_row)
        # As in plain Keras, the optimizer updates the values the forward pass assigned.
        for variable, value in zip(state, new_state, strict=True):
            variable.assign(value)
        optimizer.apply(*trained_pairs(distiller, gradients))
        y_pred = masked(*results.y_pred)
        return logs.update_metrics(distiller, results.losses, batch, y_pred)


def test_step(distiller, keras_test_step, data):
    """Evaluates the student and removes the logs of training."""
    return logs.of_validation(distiller, keras_test_step(data))


def predict_step(distiller, keras_predict_step, data):
    """Runs the student as Keras does."""
    return keras_predict_step(data)


def read_generators():
    """Returns the states of the global generators of the CPU and of each GPU."""
    states = [torch.get_rng_state()]
    if torch.cuda.is_available():
        states += torch.cuda.get_rng_state_all()
    return [np.array(state) for state in states]


def assign_generators(states):
    """Sets the states of the global generators of the CPU and of each GPU."""
    expected = len(read_generators())
    if len(states) != expected:
        raise ValueError(
            "A training on PyTorch resumes with the random states of its devices. "
            f"Received: the states of {len(states)} generators, expected {expected} "
            "(one for the CPU and one for each GPU). Resume it on a machine with the "
            "same number of GPUs, or start over in another folder."
        )
    torch.set_rng_state(torch.from_numpy(states[0].copy()))
    for device, state in enumerate(states[1:]):
        torch.cuda.set_rng_state(torch.from_numpy(state.copy()), device)


def is_chief(model):
    """Returns whether this process writes the files that all processes share."""
    return True


def _array(tensor):
    return None if tensor is None else keras.ops.convert_to_numpy(tensor)
