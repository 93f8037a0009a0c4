"""Stops training on TensorFlow before a step that is not finite is applied."""

import functools
import weakref

import keras
import tensorflow as tf

from keras_diffkd.training.divergence import diverged, is_healthy


class _NotFiniteError(Exception):
    """Stops the running graph. `raising_diverged` raises the real error instead."""


class _Stop:
    """Records the values that are not finite and stops the graph that called it.

    TensorFlow keeps the Python functions of all graphs until the process ends. This one
    therefore holds a weak reference to its distiller and no tensor of the graph, so
    that it does not keep every trained model alive.

    Args:
        distiller: The `Distiller`.
        names: Keys of the dict that `finiteness` returned.
        structure: `(x, y, sample_weight)` with a boolean for each leaf: whether it has
            a value.
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
    """Returns a tensor on which all operations that apply the step must depend.

    If the step is not finite, the tensor is never computed and the step never applied.
    If one of several replicas fails, the others wait for its gradients and stop with
    it.

    Args:
        distiller: The `Distiller`.
        replicas: `Replicas`.
        finite: Dict that `finiteness` returned on this replica.
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
    """Wraps a training function so that it raises `TrainingDivergedError`.

    The wrapper also updates loss weights that changed before the call.
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
