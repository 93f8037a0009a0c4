"""Trains a distiller; the only folder with code for specific backends."""

from keras_diffkd.training.fused_batch_norm import fused_batch_normalization

__all__ = ["fused_batch_normalization"]
