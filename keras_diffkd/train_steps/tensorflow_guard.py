"""Ends a training on TensorFlow before a step is applied that is not finite."""

import functools

import keras
import tensorflow as tf

from keras_diffkd.train_steps.divergence import diverged, is_healthy


class _NotFiniteError(Exception):
    """Ends the running graph; `raising_diverged` puts the real error in its place."""


def guard(distiller, replicas, finite, batch):
    """Returns a tensor that whatever applies the step has to wait for.

    What is never computed is never applied. Where one of several replicas fails, the
    others wait in vain for its share of the gradients, and stop with it.

    Args:
        distiller: The `Distiller`.
        replicas: `Replicas`.
        finite: What `finiteness` returned, on this replica.
        batch: Tuple `(x, y, sample_weight)`.
    """
    count = distiller._step.count
    healthy = is_healthy(distiller, finite) | replicas.is_idle
    leaves = keras.tree.flatten(batch)
    is_array = [isinstance(leaf, tf.Tensor) for leaf in leaves]

    def stop(steps, in_a_row, replica, *values):
        given = iter(values)
        finite_values = {name: next(given) for name in finite}
        leaves = [next(given) if array else None for array in is_array]
        distiller._step.failure = {
            "finite": finite_values,
            "batch": keras.tree.pack_sequence_as(batch, leaves),
            "step": steps,
            "skipped_in_a_row": in_a_row,
            "replica": int(replica) if replicas.count > 1 else None,
        }
        raise _NotFiniteError

    def fail():
        counts = [tf.convert_to_tensor(v.value) for v in (count.steps, count.in_a_row)]
        arrays = [leaf for leaf, keep in zip(leaves, is_array, strict=True) if keep]
        values = [*counts, replicas.id, *finite.values(), *arrays]
        with tf.device("CPU"):
            return tf.numpy_function(stop, values, tf.bool)

    return tf.cond(healthy, lambda: tf.constant(True), fail)


def raising_diverged(distiller, function):
    """Returns a function of training that raises `TrainingDivergedError`."""

    @functools.wraps(function)
    def run(*args, **kwargs):
        distiller._step.failure = None
        try:
            return function(*args, **kwargs)
        except (tf.errors.OpError, _NotFiniteError):
            failure = distiller._step.failure
            if failure is None:
                raise
        distiller._step.failure = None
        raise diverged(distiller, **failure)

    return run
