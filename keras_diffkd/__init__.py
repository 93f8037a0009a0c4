"""Diffusion-based knowledge distillation for Keras 3."""

from keras_diffkd import (
    callbacks,
    datasets,
    diffusion,
    interop,
    layers,
    losses,
    methods,
    models,
)
from keras_diffkd.distiller import Distiller
from keras_diffkd.methods import (
    DSKD,
    DiffKD,
    DistillationMethod,
    FitNet,
    KDiffusion,
    LogitsKD,
    VkD,
)

__version__ = "0.1.0"

__all__ = [
    "DSKD",
    "DiffKD",
    "DistillationMethod",
    "Distiller",
    "FitNet",
    "KDiffusion",
    "LogitsKD",
    "VkD",
    "callbacks",
    "datasets",
    "diffusion",
    "interop",
    "layers",
    "losses",
    "methods",
    "models",
]
