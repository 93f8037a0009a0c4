"""The home of the Keras backend in use: what the library knows about it.

`backend.train_step` is that of `training.tensorflow`, `training.jax` or
`training.torch`. Each of these folders has the same functions.
"""

import importlib

import keras

BACKENDS = ("tensorflow", "jax", "torch")

_NAME = keras.backend.backend()
_home = None
if _NAME in BACKENDS:
    _home = importlib.import_module(f"keras_diffkd.training.{_NAME}")


def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(name)
    if _home is None:
        raise ValueError(
            f"keras_diffkd trains on the Keras backends {BACKENDS}. Received: "
            f"{_NAME!r}. Set KERAS_BACKEND before Keras is imported."
        )
    return getattr(_home, name)
