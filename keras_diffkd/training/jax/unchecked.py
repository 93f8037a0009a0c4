"""Reads whether a step was finite while the next step runs.

The processor would wait for each step if it read this at once. It need not: the
compiled step leaves the state unchanged if it is not finite, or if the step before it
was not. So nothing is lost when the error comes one step later.
"""

from typing import Any, NamedTuple

import jax
import keras
import numpy as np

from keras_diffkd.keras_private.trainer import keep_variables
from keras_diffkd.training.divergence import diverged


class UncheckedStep(NamedTuple):
    """A step that was started.

    Attributes:
        healthy: Array of a boolean, whether this step and all before it were applied.
        diagnosis: Dict of arrays for the error.
        data: The batch.
        state: Keras's training state after the step.
    """

    healthy: Any
    diagnosis: Any
    data: Any
    state: Any


def trained_variables(distiller):
    """Returns the variables of Keras's training state, in Keras's order."""
    return (
        distiller.trainable_variables,
        distiller.non_trainable_variables,
        distiller.optimizer.variables,
        distiller.metrics_variables,
    )


def healthy_so_far(distiller, state):
    """Returns the flag of the last step, or true before the first one.

    Args:
        distiller: The `Distiller`.
        state: Keras's training state.
    """
    if distiller.record.unchecked is not None:
        return distiller.record.unchecked.healthy
    # Placed as the flag of a step is: otherwise, the second step is compiled again.
    like = state[-1][0]
    flag = jax.numpy.array(True)
    return jax.device_put(flag, like.sharding) if like.committed else flag


def check(distiller, state=None):
    """Raises `TrainingDivergedError` if the unchecked step was not finite.

    Args:
        distiller: The `Distiller`.
        state: Keras's training state after a later step, which was not applied either.
            Defaults to the state after the unchecked step.
    """
    step, distiller.record.unchecked = distiller.record.unchecked, None
    if step is None or step.healthy:
        return
    # Keras has moved the values out of the model's variables during training.
    groups = trained_variables(distiller)
    for variables, values in zip(groups, state or step.state, strict=True):
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
    keep_variables(distiller)
    batch = jax.tree.map(np.asarray, keras.utils.unpack_x_y_sample_weight(step.data))
    diagnosis = jax.tree.map(np.asarray, step.diagnosis)
    raise diverged(
        distiller,
        diagnosis["finite"],
        batch,
        diagnosis["steps"],
        diagnosis["in_a_row"],
    )
