"""Supports gradient checkpointing (`keras.remat`) inside the step on all backends.

A checkpointed function runs twice. The second run must read the same values of the
variables, including the states of random generators, as the first run. With Keras's own
checkpointing, the second run reads the values that the first run assigned.
"""

import contextlib
import functools

from keras_diffkd.keras_private.patches import replace_checkpoint
from keras_diffkd.keras_private.scopes import (
    autocast_dtype,
    autocasting,
    call_context,
    calling,
    claim_losses,
    is_symbolic,
    stateless_scope,
)
from keras_diffkd.training.scope import StepScope


def install(checkpointed):
    """Replaces `keras.remat` inside steps.

    This also affects functions that were wrapped before the first step.

    Args:
        checkpointed: Callable `checkpointed(scope, f, args, kwargs)` that returns the
            outputs of `f` and applies the changes of `f` to the scope.
    """
    replace_checkpoint(functools.partial(_inside_steps, checkpointed))


def _inside_steps(checkpointed, of_keras):
    """Returns a `keras.remat` that calls `checkpointed` inside steps."""

    def remat(f):
        @functools.wraps(f)
        def run(*args, **kwargs):
            if not _is_training():
                return f(*args, **kwargs)
            scope = stateless_scope()
            if isinstance(scope, StepScope):
                return checkpointed(scope, f, args, kwargs)

            # Each call gets a new function, because JAX caches the trace of an old
            # one, in which the weights are constants.
            def uncached(*args, **kwargs):
                return f(*args, **kwargs)

            return of_keras(uncached)(*args, **kwargs)

        return run

    return remat


def _is_training():
    """Returns whether gradients may be computed.

    They are not for a teacher, during evaluation or while Keras computes shapes.
    """
    call = call_context()
    return not is_symbolic() and (call is None or call.training)


def repeating(scope):
    """Returns a function that creates contexts with the current values.

    Args:
        scope: The `StepScope`.
    """
    values, trained = scope.values(), scope.trained
    dtype, call = autocast_dtype(), call_context()

    @contextlib.contextmanager
    def again(new=trained):
        """Takes a dict from ids of trained variables to values to use instead."""
        inner = scope.copy({**values, **new}, new)
        with calling(call), inner, autocasting(dtype):
            yield inner

    return again


def add_losses(scope, losses):
    """Adds the losses that layers in a checkpointed function added to the scope."""
    scope.losses += losses
    call = call_context()
    if call is not None:
        claim_losses(call.entry_layer, losses)
