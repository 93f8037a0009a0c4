"""Computes gradients on TensorFlow, of a step or of any function."""

import tensorflow as tf

from keras_diffkd.keras_private.layers import all_layers
from keras_diffkd.training.finite import finiteness
from keras_diffkd.training.loss_balance import is_balancing, with_gradient_norms
from keras_diffkd.training.state import state_variables
from keras_diffkd.training.step import step
from keras_diffkd.training.tensorflow.fused_batch_norm import fused
from keras_diffkd.training.tensorflow.replicas import sharing


def make_gradient_function(distiller, jit_compile):
    """Returns the pure function of a step, with or without XLA.

    It maps `(share, StepValues, Batch)` to `(gradients, finiteness, StepResults)`
    without features (see `finite`). Variables, optimizer and metrics are not part of
    it, because inside an XLA cluster they would tie the step to one device.
    """
    synchronizes = _must_synchronize(distiller, jit_compile)
    if synchronizes:
        jit_compile = False
    if jit_compile == "auto":
        jit_compile = _can_compile(distiller) and bool(
            tf.config.list_logical_devices("GPU")
        )

    def gradients_of(share, values, batch):
        trainable = values.trainable
        tape = tf.GradientTape(
            persistent=is_balancing(distiller),
            watch_accessed_variables=False,
        )
        with sharing(share), tape:
            tape.watch(trainable)
            with fused(*(() if jit_compile else _networks(distiller))):
                loss, results = step(distiller, values, batch)
        balanced = results.balanced
        tensors = balanced.tensors if balanced else []
        gradients, of_tensors = tape.gradient(loss, [trainable, tensors])
        # Gradients of embeddings are sparse slices, which XLA cannot return.
        gradients = [None if g is None else tf.convert_to_tensor(g) for g in gradients]
        finite = finiteness(distiller, batch.x, gradients, results)
        results = with_gradient_norms(
            results,
            of_tensors,
            lambda i: tape.gradient(balanced.scalars[i], tensors),
            # Replicas cannot wait for each other in a conditional part of the step.
            is_conditional=not synchronizes,
        )
        return gradients, finite, results

    if not jit_compile:
        return gradients_of
    # AutoGraph is off, as in Keras's own step. It would take seconds to rewrite a step,
    # and let models train that cannot predict or be exported.
    compiled = tf.function(gradients_of, jit_compile=True, autograph=False)

    def compiled_gradients_of(share, values, batch):
        # Tracing finds more variables that the step assigns. Compiled code must return
        # their values, not assign them itself.
        compiled.get_concrete_function(share, values, batch)
        found = state_variables(distiller)[len(values.state) :]
        state = [*values.state, *values_of(found)]
        return compiled(share, values._replace(state=state), batch)

    return compiled_gradients_of


def _can_compile(distiller):
    """Returns whether XLA supports all layers; it does not support those on strings."""
    return all(
        layer.supports_jit
        for network in _networks(distiller)
        for layer in all_layers(network)
    )


def _must_synchronize(distiller, jit_compile):
    """Returns whether layers communicate with other replicas, which XLA does not allow.

    Raises:
        ValueError: If they do and `jit_compile` is `True`.
    """
    if distiller.distribute_strategy.num_replicas_in_sync == 1:
        return False
    layers = [
        layer.path
        for network in _networks(distiller)
        for layer in all_layers(network)
        if getattr(layer, "synchronized", False)
    ]
    if layers and jit_compile is True:
        raise ValueError(
            "jit_compile=True cannot be combined with batch normalization that is "
            "synchronized over replicas: compiled code cannot wait for other replicas. "
            f"Received: {layers[0]!r} with synchronized=True. Pass "
            'jit_compile="auto" or False.'
        )
    return bool(layers)


def gradient(function, x):
    """Returns the gradient of the scalar `function(x)` with respect to `x`."""
    # `stop_gradient` on both sides keeps second-order gradients out of the step's tape.
    x = tf.stop_gradient(x)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(x)
        value = function(x)
    return tf.stop_gradient(tape.gradient(value, x))


def _networks(distiller):
    """Returns all models and methods that run in a step."""
    teacher = [distiller.teacher] if distiller.methods else []
    return *teacher, distiller.student, *distiller.methods


def values_of(variables):
    """Returns the values of variables as tensors."""
    return [tf.convert_to_tensor(variable.value) for variable in variables]
