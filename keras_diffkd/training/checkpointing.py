"""Gradient checkpointing (`keras.remat`) inside the step: what all backends share.

A checkpointed function runs twice. The second time it must find the variables,
the state of the random generators included, as the first run has found them. Keras's
own checkpoints look at what the first run has left.
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
    """Replaces Keras's checkpoint inside steps, also for what is wrapped before any.

    Args:
        checkpointed: Callable `checkpointed(scope, f, args, kwargs)` that returns what
            `f` returns, and leaves in the scope what it leaves there.
    """
    replace_checkpoint(functools.partial(_inside_steps, checkpointed))


def _inside_steps(checkpointed, of_keras):
    """Returns a checkpoint that is another one inside steps."""

    def remat(f):
        @functools.wraps(f)
        def run(*args, **kwargs):
            if not _is_training():
                return f(*args, **kwargs)
            scope = stateless_scope()
            if isinstance(scope, StepScope):
                return checkpointed(scope, f, args, kwargs)

            # A new function for every call: JAX remembers the trace of an old one,
            # in which the weights are constants.
            def anew(*args, **kwargs):
                return f(*args, **kwargs)

            return of_keras(anew)(*args, **kwargs)

        return run

    return remat


def _is_training():
    """Whether gradients may be wanted: not for shapes, a teacher or an evaluation."""
    call = call_context()
    return not is_symbolic() and (call is None or call.training)


def repeating(scope):
    """Returns a function that makes contexts in which everything is as it is now.

    Args:
        scope: The `StepScope`.
    """
    values, trained = dict(scope.state_mapping), scope.trained
    dtype, call = autocast_dtype(), call_context()

    @contextlib.contextmanager
    def again(new=trained):
        """Takes a dict from the id of trained variables to values, instead of ours."""
        inner = scope.copy({**values, **new}, new)
        with calling(call), inner, autocasting(dtype):
            yield inner

    return again


def add_losses(scope, losses):
    """Adds to the scope what layers in a checkpointed function have added."""
    scope.losses += losses
    call = call_context()
    if call is not None:
        claim_losses(call.entry_layer, losses)
