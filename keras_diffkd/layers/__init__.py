"""Layers that the diffusion model and the methods share."""

from keras_diffkd.layers.bottleneck import Bottleneck

__all__ = ["Bottleneck"]
