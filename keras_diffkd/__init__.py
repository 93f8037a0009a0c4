"""Diffusion-based knowledge distillation for Keras 3."""

import importlib

from keras_diffkd import (
    callbacks,
    diffusion,
    interop,
    layers,
    losses,
    methods,
    metrics,
    models,
    preflight,
    pruning,
    quantization,
)
from keras_diffkd.distiller import Distiller
from keras_diffkd.errors import TrainingDivergedError
from keras_diffkd.methods import (
    AFD,
    DIST,
    DKD,
    DSKD,
    RTK,
    TTM,
    DiffKD,
    DistillationMethod,
    FitNet,
    KDiffusion,
    LogitsKD,
    VkD,
)
from keras_diffkd.pruning import shrink
from keras_diffkd.quantization import QuantizationAware

__version__ = "0.1.0"

__all__ = [
    "AFD",
    "DIST",
    "DKD",
    "DSKD",
    "RTK",
    "TTM",
    "DiffKD",
    "DistillationMethod",
    "Distiller",
    "FitNet",
    "KDiffusion",
    "LogitsKD",
    "QuantizationAware",
    "TrainingDivergedError",
    "VkD",
    "callbacks",
    "datasets",
    "diffusion",
    "interop",
    "layers",
    "losses",
    "methods",
    "metrics",
    "models",
    "preflight",
    "pruning",
    "quantization",
    "shrink",
]


def __getattr__(name):
    # `datasets` needs TensorFlow; the rest runs on other backends without it.
    if name == "datasets":
        return importlib.import_module("keras_diffkd.datasets")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
