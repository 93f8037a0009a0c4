"""Teachers and students: a zoo, Keras applications, KerasHub presets, files."""

from keras_diffkd.models.loading import load_model
from keras_diffkd.models.precision import with_dtype_policy
from keras_diffkd.models.zoo import build_model

__all__ = ["build_model", "load_model", "with_dtype_policy"]
