"""Layers that the diffusion model and the methods share."""

from keras_diffkd.layers.bottleneck import Bottleneck
from keras_diffkd.layers.fused_batch_norm import fused_batch_normalization

__all__ = ["Bottleneck", "fused_batch_normalization"]
