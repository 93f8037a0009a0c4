"""Computes gradients on JAX, of a step or of any function."""

import jax

from keras_diffkd.training.finite import finiteness
from keras_diffkd.training.step import step


def make_gradient_function(distiller, jit_compile):
    """Returns the pure function of a step.

    It maps `(StepValues, Batch)` to `(gradients, finiteness, StepResults)` without
    features (see `finite`). `make_train_function` compiles it as part of the step.
    """

    def gradients_of(values, batch):
        def loss(trainable):
            return step(distiller, values._replace(trainable=trainable), batch)

        gradients, results = jax.grad(loss, has_aux=True)(values.trainable)
        finite = finiteness(distiller, batch.x, gradients, results)
        return gradients, finite, results._replace(features=None)

    return gradients_of


def gradient(function, x):
    """Returns the gradient of a scalar function, as a constant."""
    return jax.lax.stop_gradient(jax.grad(function)(x))
