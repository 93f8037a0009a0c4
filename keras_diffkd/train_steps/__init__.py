"""The training step on each backend: the only folder that knows the backend."""

import importlib

import keras

BACKENDS = ("tensorflow",)

_step = None
if keras.backend.backend() in BACKENDS:
    _step = importlib.import_module(
        f"keras_diffkd.train_steps.{keras.backend.backend()}"
    )


def _backend():
    if _step is None:
        raise ValueError(
            f"keras_diffkd trains on the Keras backends {BACKENDS}. Received: "
            f"{keras.backend.backend()!r}. Set KERAS_BACKEND before Keras is imported."
        )
    return _step


def make_gradient_function(distiller, jit_compile):
    """Returns the pure function of a step: gradients, new state, losses, outputs."""
    return _backend().make_gradient_function(distiller, jit_compile)


def gradient(function, x):
    """Returns the gradient of the scalar `function(x)` with respect to `x`.

    It is a constant for the rest of the step: no gradient flows through it.
    """
    return _backend().gradient(function, x)


def build_compiled(distiller, x, y):
    """Creates what optimizer, loss and metrics need, from the data's structure."""
    _backend().build_compiled(distiller, x, y)


def train_step(distiller, *args, **kwargs):
    """Runs one step of training and returns the logs."""
    return _backend().train_step(distiller, *args, **kwargs)


def unscaled(loss):
    """Returns the mean loss of this replica's samples, whatever Keras scaled."""
    return _backend().unscaled(loss)


def without_training_logs(distiller, result):
    """Removes what only training measures from the result of a test step."""
    return _backend().without_training_logs(distiller, result)


def data_errors_as_value_errors():
    """Returns a context in which errors found in the data are `ValueError`s."""
    return _backend().data_errors_as_value_errors()
