"""Selects the code for the Keras backend in use.

`backend.train_step`, for example, is the function of that name in
`training.tensorflow`, `training.jax` or `training.torch`. All three folders define the
same functions, except `symbolic_build` and `state_sync`, which only Keras's trainers on
TensorFlow and on JAX call.
"""

import importlib

import keras

from keras_diffkd.training import checkpointing

BACKENDS = ("tensorflow", "jax", "torch")

_NAME = keras.backend.backend()
_home = None
if _NAME in BACKENDS:
    _home = importlib.import_module(f"keras_diffkd.training.{_NAME}")
    # Here and not where it is defined: the other folders may be imported, too.
    checkpointing.install(_home.checkpointed)


def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(name)
    if _home is None:
        raise ValueError(
            f"keras_diffkd trains on the Keras backends {BACKENDS}. Received: "
            f"{_NAME!r}. Set KERAS_BACKEND to one of them before you import Keras."
        )
    return getattr(_home, name)
