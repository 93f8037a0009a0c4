"""Gradient checkpointing (`keras.remat`) inside the step on TensorFlow.

`tf.recompute_grad`, which Keras uses, gives gradients to the arguments of a function
and to `tf.Variable`s. In the step variables are tensors, to which it gives none.
"""

import functools

import keras
import tensorflow as tf
from keras.src.backend.common.global_state import (
    get_global_attribute,
    set_global_attribute,
)
from keras.src.backend.common.stateless_scope import get_stateless_scope
from keras.src.backend.common.variables import AutocastScope, get_autocast_scope
from keras.src.backend.tensorflow import core

from keras_diffkd.taps import no_taps
from keras_diffkd.train_steps.step_scope import StepScope

_of_keras = core.remat


def _remat(f):
    """Does what Keras does, but inside the step."""
    plain = _of_keras(f)

    @functools.wraps(f)
    def run(*args, **kwargs):
        scope = get_stateless_scope()
        if not isinstance(scope, StepScope):
            return plain(*args, **kwargs)
        if tf.executing_eagerly():
            return f(*args, **kwargs)  # Right, without the memory saved.
        return _checkpointed(scope, f, args, kwargs)

    return run


def install():
    """Puts it in the place of Keras's, also for what is wrapped before any step."""
    core.remat = _remat


def _checkpointed(scope, f, args, kwargs):
    """Runs a function whose intermediate results are computed anew for gradients."""
    call = (args, kwargs)
    flat = tf.nest.flatten(call)
    places = [i for i, value in enumerate(flat) if tf.is_tensor(value)]
    entry = dict(scope.state_mapping)
    trained = list(scope.trained)
    autocast = get_autocast_scope()
    dtype = None if autocast is None else autocast.dtype
    context = get_global_attribute("current_call_ctx")
    structure = []

    def outputs_of(tensors):
        values = list(flat)
        for place, tensor in zip(places, tensors, strict=True):
            values[place] = tensor
        args, kwargs = tf.nest.pack_sequence_as(call, values)
        scope = get_stateless_scope()
        count = len(scope.losses)
        with no_taps():
            outputs = f(*args, **kwargs), scope.losses[count:]
        del scope.losses[count:]
        structure[:] = [outputs]
        return tf.nest.flatten(outputs)

    def again(tensors, values):
        scope = keras.StatelessScope(collect_losses=True, initialize_variables=False)
        scope.state_mapping = {**entry, **dict(zip(trained, values, strict=True))}
        previous = get_global_attribute("current_call_ctx")
        set_global_attribute("current_call_ctx", context)
        try:
            with scope, AutocastScope(dtype):
                return outputs_of(tensors)
        finally:
            set_global_attribute("current_call_ctx", previous)

    @tf.custom_gradient
    def run(*inputs):
        outputs = outputs_of(inputs[: len(places)])

        def gradients(*upstream):
            # What depends on the gradients is not computed before them.
            wait = tf.minimum(tf.abs(tf.reshape(upstream[0], [-1])[:1]), 0)[0]
            delayed = [
                t + tf.cast(wait, t.dtype) if t.dtype.is_floating else tf.identity(t)
                for t in inputs
            ]
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch([t for t in delayed if t.dtype.is_floating])
                recomputed = again(delayed[: len(places)], delayed[len(places) :])
            return tape.gradient(recomputed, delayed, output_gradients=list(upstream))

        return tuple(outputs), gradients

    results = run(*(flat[i] for i in places), *(entry[key] for key in trained))
    results = list(results) if isinstance(results, (list, tuple)) else [results]
    outputs, losses = tf.nest.pack_sequence_as(structure[0], results)
    scope.losses += losses
    if context is not None:
        # Keras knows by this whose losses they are.
        context.entry_layer._loss_ids.update(map(id, losses))
    return outputs
