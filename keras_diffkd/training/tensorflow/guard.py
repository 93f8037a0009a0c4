"""Ends a training on TensorFlow before a step is applied that is not finite."""

import functools
import weakref

import keras
import tensorflow as tf

from keras_diffkd.training.divergence import diverged, is_healthy


class _NotFiniteError(Exception):
    """Ends the running graph; `raising_diverged` puts the real error in its place."""


class _Stop:
    """Notes what was not finite, and ends the graph that called it.

    TensorFlow keeps the Python functions of all graphs for as long as the process
    lives. So this one knows its distiller by a weak reference and holds no tensor of
    the graph: either of them would keep every model that was ever trained.

    Args:
        distiller: The `Distiller`.
        names: Names of what `finiteness` returned.
        structure: `(x, y, sample_weight)` with booleans in place of the leaves: whether
            a value is given for it.
        replicas: Integer, the number of replicas.
    """

    def __init__(self, distiller, names, structure, replicas):
        self._distiller = weakref.ref(distiller)
        self._names = names
        self._structure = structure
        self._replicas = replicas

    def __call__(self, steps, in_a_row, replica, *values):
        given = iter(values)
        self._distiller().record.failure = {
            "finite": {name: next(given) for name in self._names},
            "batch": keras.tree.map_structure(
                lambda is_given: next(given) if is_given else None, self._structure
            ),
            "step": steps,
            "skipped_in_a_row": in_a_row,
            "replica": int(replica) if self._replicas > 1 else None,
        }
        raise _NotFiniteError


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
    count = distiller.record.count
    healthy = is_healthy(distiller, finite) | replicas.is_idle
    leaves = keras.tree.flatten(batch)
    is_array = [isinstance(leaf, tf.Tensor) for leaf in leaves]
    arrays = [leaf for leaf, keep in zip(leaves, is_array, strict=True) if keep]
    structure = keras.tree.pack_sequence_as(batch, is_array)
    stop = _Stop(distiller, list(finite), structure, replicas.count)

    def fail():
        counts = [tf.convert_to_tensor(v.value) for v in (count.steps, count.in_a_row)]
        values = [*counts, replicas.id, *finite.values(), *arrays]
        with tf.device("CPU"):
            return tf.numpy_function(stop, values, tf.bool)

    return tf.cond(healthy, lambda: tf.constant(True), fail)


def raising_diverged(distiller, function):
    """Returns a function of training that raises `TrainingDivergedError`.

    It lets the steps see the weights of losses that were changed before them.
    """

    @functools.wraps(function)
    def run(*args, **kwargs):
        distiller.record.failure = None
        distiller.record.loss_weights.refresh(distiller)
        try:
            return function(*args, **kwargs)
        except (tf.errors.OpError, _NotFiniteError):
            failure = distiller.record.failure
            if failure is None:
                raise
        distiller.record.failure = None
        raise diverged(distiller, **failure)

    return run
