"""What other callbacks remember from one epoch to the next."""

import hashlib
import json

import keras
import numpy as np

_OF_KERAS = ("_model", "model", "params")


class CallbackStates:
    """Reads and sets what the callbacks of a training remember.

    A callback that has `get_state()` and `set_state(state)` is asked. Of all others
    (those of Keras too), the attributes that have changed since the training began
    are its state: numbers, strings, arrays, lists, tuples and dicts of them, and
    functions of `keras.ops`. What is given to a constructor, such as a path, does not
    change and may be another when the training is resumed.

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
        """Returns the states as what JSON can hold.

        Args:
            arrays: Dict that takes the arrays of the states.
        """
        return {
            name: self._state(name, callback, arrays)
            for name, callback in self._callbacks.items()
        }

    def set(self, states, arrays):
        """Sets the states of the callbacks that are still there.

        Args:
            states: What `get` returned.
            arrays: Dict that holds the arrays.
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
    """Names callbacks by class and number, the same way in the next process."""
    named, counts = {}, {}
    for callback in callbacks:
        kind = type(callback).__name__
        counts[kind] = counts.get(kind, -1) + 1
        named[f"{kind} {counts[kind]}"] = callback
    return named


def _attributes(name, callback):
    """Yields `(attribute, encoded, arrays)` for all that can be kept."""
    for attribute, value in vars(callback).items():
        arrays = {}
        if attribute in _OF_KERAS:
            continue
        try:
            encoded = _encode(value, f"{name}/{attribute}", arrays)
        except TypeError:
            continue  # A file, a model: the callback makes it anew.
        yield attribute, encoded, arrays


def _digest(value, arrays):
    digest = hashlib.sha256(json.dumps(value).encode())
    for array in arrays.values():
        digest.update(np.ascontiguousarray(array))
    return digest.hexdigest()


def _encode(value, prefix, arrays):
    """Returns a value as what JSON can hold; its arrays get names in `arrays`.

    Raises:
        TypeError: If it is not made of what can be kept.
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
    # Which way is better, which Keras's callbacks decide at the first epoch's end.
    name = getattr(value, "__name__", None)
    if name is not None and getattr(keras.ops, name, None) is value:
        return {"keras.ops": name}
    raise TypeError(f"{type(value).__name__} cannot be kept")


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
