"""Builds and loads models: a zoo, Keras applications, KerasHub presets and files."""

from keras_diffkd.errors import UnsafeModelError
from keras_diffkd.models.files.keras_file import inspect_keras_file
from keras_diffkd.models.loading import load_model
from keras_diffkd.models.precision import with_dtype_policy
from keras_diffkd.models.preprocessing import (
    pretrained_preprocessing,
    with_preprocessing,
)
from keras_diffkd.models.zoo import build_model

__all__ = [
    "UnsafeModelError",
    "build_model",
    "inspect_keras_file",
    "load_model",
    "pretrained_preprocessing",
    "with_dtype_policy",
    "with_preprocessing",
]
