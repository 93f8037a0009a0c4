"""Gradient checkpointing (`keras.remat`) inside the step: what all backends share.

A checkpointed function runs twice. The second time it must find the variables,
the state of the random generators included, as the first run has found them. Keras's
own checkpoints look at what the first run has left.
"""

import contextlib
import functools

from keras.src.backend import core
from keras.src.backend.common.global_state import (
    get_global_attribute,
    set_global_attribute,
)
from keras.src.backend.common.stateless_scope import get_stateless_scope
from keras.src.backend.common.symbolic_scope import in_symbolic_scope
from keras.src.backend.common.variables import AutocastScope, get_autocast_scope

from keras_diffkd.training.scope import StepScope


def install(checkpointed):
    """Replaces Keras's checkpoint inside steps, also for what is wrapped before any.

    Args:
        checkpointed: Callable `checkpointed(scope, f, args, kwargs)` that returns what
            `f` returns, and leaves in the scope what it leaves there.
    """
    of_keras = core.remat

    def remat(f):
        @functools.wraps(f)
        def run(*args, **kwargs):
            if not _is_training():
                return f(*args, **kwargs)
            scope = get_stateless_scope()
            if isinstance(scope, StepScope):
                return checkpointed(scope, f, args, kwargs)

            # A new function for every call: JAX remembers the trace of an old one,
            # in which the weights are constants.
            def anew(*args, **kwargs):
                return f(*args, **kwargs)

            return of_keras(anew)(*args, **kwargs)

        return run

    core.remat = remat


def _is_training():
    """Whether gradients may be wanted: not for shapes, a teacher or an evaluation."""
    call = get_global_attribute("current_call_ctx")
    return not in_symbolic_scope() and (call is None or call.training)


def repeating(scope):
    """Returns a function that makes contexts in which everything is as it is now.

    Args:
        scope: The `StepScope`.
    """
    values, trained = dict(scope.state_mapping), scope.trained
    autocast = get_autocast_scope()
    dtype = None if autocast is None else autocast.dtype
    call = get_global_attribute("current_call_ctx")

    @contextlib.contextmanager
    def again(new=trained):
        """Takes a dict from the id of trained variables to values, instead of ours."""
        previous = get_global_attribute("current_call_ctx")
        set_global_attribute("current_call_ctx", call)
        try:
            inner = scope.copy({**values, **new}, new)
            with inner, AutocastScope(dtype):
                yield inner
        finally:
            set_global_attribute("current_call_ctx", previous)

    return again


def add_losses(scope, losses):
    """Adds to the scope what layers in a checkpointed function have added."""
    scope.losses += losses
    call = get_global_attribute("current_call_ctx")
    if call is not None:
        # Keras knows by this whose losses they are.
        call.entry_layer._loss_ids.update(map(id, losses))
