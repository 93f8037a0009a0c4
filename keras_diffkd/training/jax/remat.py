"""Implements gradient checkpointing (`keras.remat`) inside the step on JAX.

`jax.checkpoint`, which Keras uses, takes only functions without side effects. Values
that a layer assigns, draws or adds to the loss would leak, which JAX rejects.
"""

import jax

from keras_diffkd.features.taps import no_taps
from keras_diffkd.training.checkpointing import add_losses
from keras_diffkd.training.masks import masked, with_masks


def checkpointed(scope, f, args, kwargs):
    """Runs a function whose intermediate results are recomputed for gradients."""
    call = jax.tree.structure((args, kwargs))
    flat = jax.tree.leaves((args, kwargs))
    _, masks = with_masks(flat)
    places = [i for i, value in enumerate(flat) if isinstance(value, jax.Array)]

    def pure(tensors):
        values = list(flat)
        for place, tensor in zip(places, tensors, strict=True):
            values[place] = tensor
        args, kwargs = jax.tree.unflatten(call, masked(values, masks))
        with scope.copy(scope.state_mapping, scope.trained) as inner, no_taps():
            outputs = f(*args, **kwargs)
        return outputs, inner.changes(), inner.losses

    outputs, changes, losses = jax.checkpoint(pure)([flat[i] for i in places])
    scope.change(changes)
    add_losses(scope, losses)
    return outputs
