"""Uses losses and weights of other libraries."""

from keras_diffkd.interop import keras_distillation, pytorch

__all__ = ["keras_distillation", "pytorch"]
