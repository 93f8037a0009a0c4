"""Implements gradient checkpointing (`keras.remat`) inside the step on TensorFlow.

`tf.recompute_grad`, which Keras uses, computes gradients for the arguments of a
function and for `tf.Variable`s. In the step, variables are replaced by tensors, for
which it computes none.
"""

import tensorflow as tf

from keras_diffkd.features.taps import no_taps
from keras_diffkd.training.checkpointing import add_losses, repeating
from keras_diffkd.training.masks import masked, with_masks


def checkpointed(scope, f, args, kwargs):
    """Runs a function whose intermediate results are recomputed for gradients."""
    if tf.executing_eagerly():
        return f(*args, **kwargs)  # The gradients are right, but no memory is saved.
    call = (args, kwargs)
    flat = tf.nest.flatten(call)
    _, masks = with_masks(flat)
    places = [i for i, value in enumerate(flat) if tf.is_tensor(value)]
    entry = scope.values()
    trained = list(scope.trained)
    again = repeating(scope)

    with _Closure([*filter(tf.is_tensor, flat), *entry.values()]) as closure:
        count = len(scope.losses)
        with no_taps():
            outputs = f(*args, **kwargs), scope.losses[count:]
        del scope.losses[count:]

    def gradients(inputs, upstream):
        """Returns the gradients of the inputs, given those of the outputs."""
        # Depending on `upstream`, these are not computed before the backward pass.
        delayed = _delayed(inputs, upstream)
        tensors, values = delayed[: len(places)], delayed[len(places) :]
        sources = [*delayed, *closure.tensors]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([t for t in sources if t.dtype.is_floating])
            new = list(flat)
            for place, tensor in zip(places, tensors, strict=True):
                new[place] = tensor
            args, kwargs = tf.nest.pack_sequence_as(call, masked(new, masks))
            with again(dict(zip(trained, values, strict=True))) as inner, no_taps():
                recomputed = tf.nest.flatten((f(*args, **kwargs), inner.losses))
        pairs = [p for p in zip(recomputed, upstream, strict=True) if _is_float(p[0])]
        targets, upstream = map(list, zip(*pairs, strict=True))
        gradients = tape.gradient(targets, sources, output_gradients=upstream)
        return [None if g is None else tf.convert_to_tensor(g) for g in gradients]

    inputs = [*(flat[i] for i in places), *(entry[key] for key in trained)]
    results = _with_gradients(tf.nest.flatten(outputs), inputs, closure, gradients)
    outputs, losses = tf.nest.pack_sequence_as(outputs, results)
    add_losses(scope, losses)
    return outputs


def _with_gradients(outputs, inputs, closure, gradients):
    """Returns the outputs with `gradients` in place of their own gradients."""

    @tf.custom_gradient
    def run(*tensors):
        of_outputs = [None] * len(outputs)
        taken = tensors[len(outputs) : len(outputs) + len(inputs)]
        return (
            tuple(map(tf.identity, tensors[: len(outputs)])),
            lambda *upstream: [*of_outputs, *gradients(taken, upstream)],
        )

    results = run(*map(tf.stop_gradient, outputs), *inputs, *closure.tensors)
    return list(results) if isinstance(results, (list, tuple)) else [results]


class _Closure:
    """Finds the float tensors that the operations in a block take from outside it.

    Args:
        known: Tensors to leave out.
    """

    def __init__(self, known):
        self._known = {tensor.ref() for tensor in known}
        self.tensors = []

    def __enter__(self):
        self._graph = tf.compat.v1.get_default_graph()
        self._count = len(self._graph.get_operations())
        return self

    def __exit__(self, *error):
        operations = self._graph.get_operations()[self._count :]
        inside = {operation.name for operation in operations}
        found = {
            tensor.ref()
            for operation in operations
            for tensor in operation.inputs
            if tensor.op.name not in inside and tensor.dtype.is_floating
        }
        self.tensors = [ref.deref() for ref in found - self._known]


def _delayed(tensors, upstream):
    """Returns the same values, made to depend on the upstream gradients."""
    wait = tf.add_n(
        [
            tf.reduce_sum(tf.cast(tf.reshape(gradient, [-1])[:1], tf.float32))
            for gradient in upstream
            if _is_float(gradient)
        ]
    )
    wait = tf.minimum(tf.abs(wait), 0)
    return [
        t + tf.cast(wait, t.dtype) if t.dtype.is_floating else tf.identity(t)
        for t in tensors
    ]


def _is_float(value):
    return tf.is_tensor(value) and value.dtype.is_floating
