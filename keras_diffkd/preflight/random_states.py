"""Keeps the random generators that reading data draws from as they are."""

import contextlib
import random
import sys

import numpy as np


@contextlib.contextmanager
def same_random_states(data):
    """Gives random generators their states back after data has been read.

    These are the global ones of Python, NumPy and PyTorch, and those that are
    attributes of a data set or of its sampler.

    Args:
        data: A `keras.utils.PyDataset`, a PyTorch `DataLoader` or other data.
    """
    states = [(put, get()) for get, put in _global() + _own(data)]
    try:
        yield
    finally:
        for put, state in states:
            put(state)


def _global():
    """Returns `(get, set)` for the states of the global generators."""
    found = [
        (random.getstate, random.setstate),
        (np.random.get_state, np.random.set_state),
    ]
    torch = sys.modules.get("torch")  # Without it, nothing draws from it.
    if torch is not None:
        found.append((torch.get_rng_state, torch.set_rng_state))
    return found


def _own(data):
    """Returns `(get, set)` for the states of the generators of a data set."""
    owners = [data, *(getattr(data, name, None) for name in ("dataset", "sampler"))]
    values = [v for owner in owners for v in getattr(owner, "__dict__", {}).values()]
    return [found for found in map(_accessors, values) if found]


def _accessors(value):
    """Returns `(get, set)` for the state of a generator, `None` for other values."""
    torch = sys.modules.get("torch")
    if isinstance(value, np.random.Generator):
        bits = value.bit_generator
        return (lambda: bits.state), (lambda state: setattr(bits, "state", state))
    if isinstance(value, random.Random):
        return value.getstate, value.setstate
    if isinstance(value, np.random.RandomState) or (
        torch is not None and isinstance(value, torch.Generator)
    ):
        return value.get_state, value.set_state
    return None
