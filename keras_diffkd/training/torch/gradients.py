"""Computes gradients on PyTorch, of a step or of any function."""

import keras
import torch

from keras_diffkd.training.finite import finiteness
from keras_diffkd.training.step import step


def make_gradient_function(distiller, jit_compile):
    """Returns the pure function of a step, with or without `torch.compile`.

    It maps `(StepValues, Batch)` to `(gradients, finiteness, StepResults)` without
    features (see `finite`). `"auto"` runs eagerly.
    """

    def gradients_of(values, batch):
        trainable = [value.detach().requires_grad_() for value in values.trainable]
        loss, results = step(distiller, values._replace(trainable=trainable), batch)
        gradients = list(torch.autograd.grad(loss, trainable, allow_unused=True))
        finite = finiteness(distiller, batch.x, gradients, results)
        results = results._replace(features=None)
        return gradients, *keras.tree.map_structure(_detached, (finite, results))

    return torch.compile(gradients_of) if jit_compile is True else gradients_of


def gradient(function, x):
    """Returns the gradient of a scalar function, as a constant."""
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        value = function(x)
    return torch.autograd.grad(value, x)[0]


def _detached(tensor):
    return None if tensor is None else tensor.detach()
