"""Running something else in place of a layer's `call`, for a while."""

import contextlib
import threading


class CallShadow:
    """Shadows the `call` of layers while a block runs, and leaves no trace.

    Args:
        make: Callable `make(layer, call)` that returns what is to run instead of
            the layer's own `call`.
    """

    def __init__(self, make):
        self._make = make
        self._lock = threading.Lock()
        self._installed = {}

    @contextlib.contextmanager
    def over(self, layers):
        """Returns the context in which the layers are shadowed.

        It may be entered several times: the replicas of a strategy trace the same
        layers in several threads. The first one in installs, the last one out removes.
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
            name = _what_runs(layer)
            shadowed = name, layer.__dict__.get(name)
            # Past Keras's attribute tracking: this must leave no trace.
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


def _what_runs(layer):
    """Returns the name of the method that Keras calls; of quantized layers, another."""
    quantized = layer.dtype_policy.quantization_mode is not None
    return "quantized_call" if quantized else "call"
