"""Accesses the state of a thread while layers run: scopes, the call and seeds."""

import contextlib

from keras.src.backend.common.global_state import (
    get_global_attribute,
    set_global_attribute,
)
from keras.src.backend.common.stateless_scope import get_stateless_scope
from keras.src.backend.common.symbolic_scope import in_symbolic_scope
from keras.src.backend.common.variables import AutocastScope, get_autocast_scope
from keras.src.random.seed_generator import (
    GLOBAL_SEED_GENERATOR,
    global_seed_generator,
)
from keras.src.saving import serialization_lib

_CALL = "current_call_ctx"


def call_context():
    """Returns the context of the outermost call of a layer, or `None` outside calls.

    It has the attributes `entry_layer` and, as soon as that layer runs, `training`.
    """
    return get_global_attribute(_CALL)


@contextlib.contextmanager
def calling(context):
    """Runs layers as if they were inside an earlier call.

    Args:
        context: Result of `call_context` during that call.
    """
    previous = call_context()
    set_global_attribute(_CALL, context)
    try:
        yield
    finally:
        set_global_attribute(_CALL, previous)


def claim_losses(layer, losses):
    """Assigns losses of a stateless scope to a layer, whose next call drops them."""
    layer._loss_ids.update(map(id, losses))


def stateless_scope():
    """Returns the innermost `keras.StatelessScope`, or `None`."""
    return get_stateless_scope()


def own_value(variable):
    """Returns the value of a variable itself, not that of a scope."""
    return variable._value


def is_symbolic():
    """Returns whether layers only compute shapes."""
    return in_symbolic_scope()


def autocast_dtype():
    """Returns the dtype in which layers read float variables, or `None`."""
    scope = get_autocast_scope()
    return None if scope is None else scope.dtype


def autocasting(dtype):
    """Returns a context in which layers read float variables in a dtype.

    Args:
        dtype: String, or `None` for the dtype of the variables.
    """
    return AutocastScope(dtype)


def global_seed():
    """Returns the global seed generator, or `None` if it does not exist yet."""
    return get_global_attribute(GLOBAL_SEED_GENERATOR)


def make_global_seed():
    """Returns the global seed generator and creates it if necessary."""
    return global_seed_generator()


def use_global_seed(generator):
    """Sets the global seed generator of this thread."""
    set_global_attribute(GLOBAL_SEED_GENERATOR, generator)


def in_safe_mode():
    """Returns `False` if files may run code in this process, else `True` or `None`."""
    return serialization_lib.in_safe_mode()
