"""Distillation methods, one file each."""

from keras_diffkd.methods.afd import AFD
from keras_diffkd.methods.diffkd import DiffKD
from keras_diffkd.methods.dist import DIST
from keras_diffkd.methods.dkd import DKD
from keras_diffkd.methods.dskd import DSKD
from keras_diffkd.methods.fitnet import FitNet
from keras_diffkd.methods.kdiffusion import KDiffusion
from keras_diffkd.methods.logits_kd import LogitsKD
from keras_diffkd.methods.method import DistillationMethod
from keras_diffkd.methods.rtk import RTK
from keras_diffkd.methods.ttm import TTM
from keras_diffkd.methods.vkd import VkD

__all__ = [
    "AFD",
    "DIST",
    "DKD",
    "DSKD",
    "RTK",
    "TTM",
    "DiffKD",
    "DistillationMethod",
    "FitNet",
    "KDiffusion",
    "LogitsKD",
    "VkD",
]
