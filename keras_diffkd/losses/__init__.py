"""Distillation losses: pure functions of the teacher's and student's tensors.

The teacher comes first, as `y_true` does in Keras. All of them compute in float32,
whatever the dtype of the inputs.
"""

from keras_diffkd.losses.dist import dist
from keras_diffkd.losses.dkd import dkd
from keras_diffkd.losses.kl import kl_divergence
from keras_diffkd.losses.lsh import lsh
from keras_diffkd.losses.mse import mean_squared_error
from keras_diffkd.losses.smooth_l1 import smooth_l1
from keras_diffkd.losses.ttm import ttm

__all__ = [
    "dist",
    "dkd",
    "kl_divergence",
    "lsh",
    "mean_squared_error",
    "smooth_l1",
    "ttm",
]
