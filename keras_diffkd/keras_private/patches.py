"""Replaces functions of Keras, temporarily or permanently."""

import contextlib
import functools
import threading

import keras
from keras.src.backend import core
from keras.src.losses import loss as keras_loss
from keras.src.models.functional import Functional

from keras_diffkd.shared_context import SharedContext


class Patch:
    """Replaces a function of a class or module in the threads that request it.

    The first thread that enters installs a function, which calls the replacements of
    the current thread. The last thread that leaves removes it.

    Args:
        owner: Class or module.
        name: String, the function's name.
    """

    def __init__(self, owner, name):
        self._owner = owner
        self._name = name
        self._installed = SharedContext(self._install)
        self._of_thread = threading.local()

    @contextlib.contextmanager
    def by(self, replacement):
        """Returns a context in which this thread runs a replacement.

        Args:
            replacement: Callable `replacement(original, *args, **kwargs)`.
        """
        replacements = vars(self._of_thread).setdefault("replacements", [])
        with self._installed.use():
            replacements.append(replacement)
            try:
                yield
            finally:
                replacements.pop()

    @contextlib.contextmanager
    def _install(self):
        original = vars(self._owner)[self._name]

        @functools.wraps(original)
        def patched(*args, **kwargs):
            function = original
            for replacement in getattr(self._of_thread, "replacements", ()):
                function = functools.partial(replacement, function)
            return function(*args, **kwargs)

        setattr(self._owner, self._name, patched)
        try:
            yield
        finally:
            setattr(self._owner, self._name, original)


_SCALING = Patch(keras_loss, "scale_loss_for_distribution")
_UNSCALING = Patch(keras_loss, "unscale_loss_for_distribution")
_WEIGHTS = Patch(keras.Layer, "add_weight")
_METRIC_WEIGHTS = Patch(keras.Metric, "add_variable")
_MODEL_INPUTS = Patch(Functional, "_standardize_inputs")


@contextlib.contextmanager
def scaled_losses(scale, unscale):
    """Replaces Keras's division of losses by the number of replicas in a context.

    Args:
        scale: Callable that maps the mean loss of this replica to its part of the sum
            over the replicas.
        unscale: Callable that undoes this, for logs.
    """
    with (
        _SCALING.by(lambda original, value: scale(value)),
        _UNSCALING.by(lambda original, value: unscale(value)),
    ):
        yield


@contextlib.contextmanager
def watched_weights(watch):
    """Calls a function with the shape of each weight before it is created in a context.

    Args:
        watch: Callable that receives the shape tuples of weights of layers and metrics
            that this thread creates.
    """

    def watched(original, owner, *args, **kwargs):
        shape = args[0] if args else kwargs.get("shape")
        watch((shape,) if isinstance(shape, int) else shape or ())
        return original(owner, *args, **kwargs)

    with _WEIGHTS.by(watched), _METRIC_WEIGHTS.by(watched):
        yield


def model_inputs_seen(see):
    """Calls a function with the inputs of each functional model in a context.

    Args:
        see: Callable that receives the inputs of a call, and the list of tensors that
            the model makes of them.
    """

    def seeing(original, model, inputs):
        taken = original(model, inputs)
        see(inputs, taken)
        return taken

    return _MODEL_INPUTS.by(seeing)


def replace_checkpoint(make):
    """Replaces `keras.remat` permanently, also for layers that exist already.

    Args:
        make: Callable `make(checkpoint)` that maps Keras's function to the new one.
            Both map a function to one whose results are recomputed for gradients.
    """
    core.remat = make(core.remat)
