"""Computes gradients on PyTorch, of a step or of any function."""

import keras
import torch

from keras_diffkd.training.finite import finiteness
from keras_diffkd.training.loss_balance import with_gradient_norms
from keras_diffkd.training.step import step


def make_gradient_function(distiller, jit_compile):
    """Returns the pure function of a step, with or without `torch.compile`.

    It maps `(StepValues, Batch)` to `(gradients, finiteness, StepResults)` without
    features (see `finite`). `"auto"` runs eagerly.
    """

    def gradients_of(values, batch):
        trainable = [value.detach().requires_grad_() for value in values.trainable]
        loss, results = step(distiller, values._replace(trainable=trainable), batch)
        balanced = results.balanced
        tensors = balanced.tensors if balanced else []
        gradients = _gradients(loss, [*trainable, *tensors], retain_graph=bool(tensors))
        gradients, of_tensors = gradients[: len(trainable)], gradients[len(trainable) :]
        finite = finiteness(distiller, batch.x, gradients, results)
        results = with_gradient_norms(
            results,
            of_tensors,
            lambda i: _gradients(balanced.scalars[i], tensors, retain_graph=True),
        )
        return gradients, *keras.tree.map_structure(_detached, (finite, results))

    return torch.compile(gradients_of) if jit_compile is True else gradients_of


def gradient(function, x):
    """Returns the gradient of a scalar function, as a constant."""
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        value = function(x)
    return torch.autograd.grad(value, x)[0]


def _gradients(loss, tensors, retain_graph):
    """Returns the gradients of a loss, `None` for tensors without one."""
    sources = [tensor for tensor in tensors if tensor.requires_grad]
    found = iter(
        torch.autograd.grad(loss, sources, retain_graph=retain_graph, allow_unused=True)
    )
    return [next(found) if tensor.requires_grad else None for tensor in tensors]


def _detached(tensor):
    return None if tensor is None else tensor.detach()
