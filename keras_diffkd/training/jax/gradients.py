"""Computes gradients on JAX, of a step or of any function."""

import jax

from keras_diffkd.training.finite import finiteness
from keras_diffkd.training.loss_balance import is_balancing, with_gradient_norms
from keras_diffkd.training.step import step


def make_gradient_function(distiller, jit_compile):
    """Returns the pure function of a step.

    It maps `(StepValues, Batch)` to `(gradients, finiteness, StepResults)` without
    features (see `finite`). `make_train_function` compiles it as part of the step.
    """

    def gradients_of(values, batch):
        def run(trainable, offsets):
            changed = values._replace(trainable=trainable, offsets=offsets)
            return step(distiller, changed, batch)

        def balanced_gradients(i):
            # A separate forward pass, which the compiler reduces to the part that
            # matters. Shared with the step, it would slow down all later steps.
            def loss(offsets):
                return run(values.trainable, offsets)[1].balanced.scalars[i]

            return jax.grad(loss)(offsets)

        offsets = _offsets(distiller, values, batch)
        (gradients, of_tensors), results = jax.grad(run, argnums=(0, 1), has_aux=True)(
            values.trainable, offsets
        )
        finite = finiteness(distiller, batch.x, gradients, results)
        results = with_gradient_norms(results, of_tensors, balanced_gradients)
        return gradients, finite, results

    return gradients_of


def _offsets(distiller, values, batch):
    """Returns zeros to add to the student's tapped tensors, or `None` without need."""
    if not is_balancing(distiller):
        return None
    tensors = jax.eval_shape(lambda: step(distiller, values, batch)[1].balanced.tensors)
    return [jax.numpy.zeros(tensor.shape, tensor.dtype) for tensor in tensors]


def gradient(function, x):
    """Returns the gradient of a scalar function, as a constant."""
    return jax.lax.stop_gradient(jax.grad(function)(x))
