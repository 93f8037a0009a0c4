"""Implements gradient checkpointing (`keras.remat`) inside the step on PyTorch.

PyTorch recomputes a checkpointed function after the scope of the step has ended, when
it would read and assign the variables themselves.
"""

import torch

from keras_diffkd.training.checkpointing import repeating


def checkpointed(scope, f, args, kwargs):
    """Runs a function whose intermediate results are recomputed for gradients."""
    again = repeating(scope)
    is_first = True

    def run(*args, **kwargs):
        nonlocal is_first
        if is_first:
            is_first = False
            return f(*args, **kwargs)
        with again():
            return f(*args, **kwargs)

    return torch.utils.checkpoint.checkpoint(run, *args, use_reentrant=False, **kwargs)
