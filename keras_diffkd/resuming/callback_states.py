"""Saves and restores the states of other callbacks."""

import hashlib
import json

import keras
import numpy as np

_OF_KERAS = ("_model", "model", "params")


class CallbackStates:
    """Reads and sets the states of the callbacks of a training.

    For a callback with `get_state()` and `set_state(state)`, these methods are called.
    The state of any other callback, including Keras's own, consists of the attributes
    that have changed since the training began: numbers, strings, arrays, functions of
    `keras.ops`, and lists, tuples and dicts of these. Arguments of a constructor, such
    as a path, do not change during training, so they may differ when it is resumed.

    Args:
        callbacks: List of callbacks, after their `on_train_begin`.

    Example:

    >>> stopping = keras.callbacks.EarlyStopping()
    >>> states = CallbackStates([stopping])
    >>> stopping.wait, stopping.best = 2, 0.5
    >>> state = states.get(arrays={})
    >>> state
    {'EarlyStopping 0': {'best': 0.5, 'wait': 2}}
    >>> stopping.wait = 7
    >>> states.set(state, arrays={})
    >>> stopping.wait
    2
    """

    def __init__(self, callbacks):
        self._callbacks = _named(callbacks)
        self._at_begin = {
            name: {key: _digest(*kept) for key, *kept in _attributes(name, callback)}
            for name, callback in self._callbacks.items()
        }
        self._restored = {}

    def get(self, arrays):
        """Returns the states in a form that JSON can hold.

        Args:
            arrays: Dict to which the arrays of the states are added.
        """
        return {
            name: self._state(name, callback, arrays)
            for name, callback in self._callbacks.items()
        }

    def set(self, states, arrays):
        """Sets the states of the callbacks that still exist.

        Args:
            states: Dict that `get` returned.
            arrays: Dict with the arrays of the states.
        """
        for name, callback in self._callbacks.items():
            state = {
                key: _decode(value, arrays)
                for key, value in states.get(name, {}).items()
            }
            self._restored[name] = set(state)
            if hasattr(callback, "set_state"):
                callback.set_state(state)
                continue
            for attribute, value in state.items():
                setattr(callback, attribute, value)

    def _state(self, name, callback, arrays):
        if hasattr(callback, "get_state"):
            return {
                key: _encode(value, f"{name}/{key}", arrays)
                for key, value in callback.get_state().items()
            }
        state, before = {}, self._at_begin[name]
        for attribute, value, own in _attributes(name, callback):
            changed = before.get(attribute) != _digest(value, own)
            if changed or attribute in self._restored.get(name, ()):
                state[attribute] = value
                arrays.update(own)
        return state


def _named(callbacks):
    """Returns the callbacks by class and number, the same in every process."""
    named, counts = {}, {}
    for callback in callbacks:
        kind = type(callback).__name__
        counts[kind] = counts.get(kind, -1) + 1
        named[f"{kind} {counts[kind]}"] = callback
    return named


def _attributes(name, callback):
    """Yields `(attribute, encoded, arrays)` for all attributes that can be saved."""
    for attribute, value in vars(callback).items():
        arrays = {}
        if attribute in _OF_KERAS:
            continue
        try:
            encoded = _encode(value, f"{name}/{attribute}", arrays)
        except TypeError:
            continue  # A file or a model, for example: the callback creates it again.
        yield attribute, encoded, arrays


def _digest(value, arrays):
    digest = hashlib.sha256(json.dumps(value).encode())
    for array in arrays.values():
        digest.update(np.ascontiguousarray(array))
    return digest.hexdigest()


def _encode(value, prefix, arrays):
    """Returns a value in a form that JSON can hold and adds its arrays to `arrays`.

    Raises:
        TypeError: If the value cannot be saved.
    """
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "biufV":
        name = f"{prefix}/{len(arrays)}"
        arrays[name] = np.array(value)
        return {"array": name, "scalar": isinstance(value, np.generic)}
    if type(value) in (list, tuple):
        items = [_encode(item, prefix, arrays) for item in value]
        return {type(value).__name__: items}
    if type(value) is dict:
        items = [[k, v] for k, v in value.items()]
        return {"dict": _encode(items, prefix, arrays)}
    # Keras's callbacks keep such a function after the first epoch, to compare metrics.
    name = getattr(value, "__name__", None)
    if name is not None and getattr(keras.ops, name, None) is value:
        return {"keras.ops": name}
    raise TypeError(f"{type(value).__name__} cannot be saved")


def _decode(value, arrays):
    if not isinstance(value, dict):
        return value
    kind, content = next(iter(value.items()))
    if kind == "array":
        array = arrays[content]
        return array[()] if value["scalar"] else array
    if kind == "keras.ops":
        return getattr(keras.ops, content)
    if kind == "dict":
        return dict(_decode(content, arrays))
    items = [_decode(item, arrays) for item in content]
    return tuple(items) if kind == "tuple" else items
