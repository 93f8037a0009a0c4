"""Temporarily replaces the `call` method, or another function, of layers."""

import contextlib
import threading


class CallShadow:
    """Replaces the `call` of layers while a block runs, and restores it afterwards.

    Args:
        make: Callable `make(layer, call)` that returns the function to run instead of
            the layer's own `call`.
        attribute: Optional name of another function of the layers to replace.
    """

    def __init__(self, make, attribute=None):
        self._make = make
        self._attribute = attribute
        self._lock = threading.Lock()
        self._installed = {}

    @contextlib.contextmanager
    def over(self, layers):
        """Returns a context in which the replacements are active.

        Several threads may enter it at once, because the replicas of a strategy trace
        the same layers in several threads. The first one to enter installs the
        replacements and the last one to leave removes them.
        """
        layers = list({id(layer): layer for layer in layers}.values())
        with self._lock:
            for layer in layers:
                self._install(layer)
        try:
            yield
        finally:
            with self._lock:
                for layer in layers:
                    self._remove(layer)

    def _install(self, layer):
        count, shadowed = self._installed.get(id(layer), (0, None))
        if count == 0:
            name = self._attribute or _call_name(layer)
            shadowed = name, layer.__dict__.get(name)
            # `__dict__` bypasses Keras's attribute tracking.
            layer.__dict__[name] = self._make(layer, getattr(layer, name))
        self._installed[id(layer)] = (count + 1, shadowed)

    def _remove(self, layer):
        count, shadowed = self._installed.pop(id(layer))
        name, original = shadowed
        if count > 1:
            self._installed[id(layer)] = (count - 1, shadowed)
        elif original is not None:
            layer.__dict__[name] = original
        else:
            del layer.__dict__[name]


def _call_name(layer):
    """Returns the name of the method that Keras calls, which quantization changes."""
    # Operations that are not layers have no mode.
    quantized = getattr(layer, "quantization_mode", None) is not None
    return "quantized_call" if quantized else "call"
