"""Gradients and compiled functions on every backend, for tests."""

import keras
import numpy as np


def compiled(function):
    """Returns the function under XLA; on PyTorch, the function itself.

    On TensorFlow alone it may change variables.
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.function(function, jit_compile=True, autograph=False)
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(function)
    return function


def value_and_gradients(function, tensors, layer=None):
    """Differentiates a function of tensors and of a layer's weights.

    Args:
        function: `function(*tensors)` returns a scalar, or `(scalar, anything)`.
        tensors: List of float arrays.
        layer: Optional built layer. What the function changes in its state
            (moving statistics, seeds) is assigned.

    Returns:
        `(value, gradients, gradients of the weights)`: what the function returned, a
        list of arrays, and a list of arrays in the order of
        `layer.trainable_variables`. The gradient to what the function does not
        depend on is zero.
    """
    tensors = [keras.ops.convert_to_tensor(t) for t in tensors]
    weights = list(layer.trainable_variables) if layer is not None else []
    state = list(layer.non_trainable_variables) if layer is not None else []

    def pure(values):
        given = [(w, v) for w, v in zip(weights, values[len(tensors) :], strict=True)]
        given += [(s, s.value) for s in state]
        with keras.StatelessScope(given) as scope:
            value = function(*values[: len(tensors)])
        scalar = value[0] if isinstance(value, tuple) else value
        return scalar, (value, [scope.get_current_value(s) for s in state])

    values = [*tensors, *(w.value for w in weights)]
    (value, new_state), gradients = _differentiate(pure, values)
    for variable, new in zip(state, new_state, strict=True):
        variable.assign(new)
    gradients = [
        np.zeros(v.shape) if g is None else keras.ops.convert_to_numpy(g)
        for v, g in zip(values, gradients, strict=True)
    ]
    return value, gradients[: len(tensors)], gradients[len(tensors) :]


def _differentiate(pure, values):
    """Returns what came with the scalar, and the gradients or `None`."""
    if keras.backend.backend() == "jax":
        import jax

        gradients, results = jax.grad(pure, has_aux=True)(values)
        return results, gradients
    if keras.backend.backend() == "torch":
        import torch

        with torch.enable_grad():
            values = [v.detach().requires_grad_() for v in values]
            scalar, results = pure(values)
            gradients = torch.autograd.grad(scalar, values, allow_unused=True)
        return keras.tree.map_structure(lambda t: t.detach(), results), gradients
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(values)
        scalar, results = pure(values)
    gradients = tape.gradient(scalar, values)
    return results, [None if g is None else tf.convert_to_tensor(g) for g in gradients]
