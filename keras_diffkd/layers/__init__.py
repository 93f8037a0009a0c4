"""Layers that the diffusion model and the methods share."""

from keras_diffkd.layers.bottleneck import Bottleneck
from keras_diffkd.layers.orthogonal_projection import OrthogonalProjection
from keras_diffkd.layers.random_hyperplanes import RandomHyperplanes
from keras_diffkd.layers.reparameterized_conv import ReparameterizedConv2D

__all__ = [
    "Bottleneck",
    "OrthogonalProjection",
    "RandomHyperplanes",
    "ReparameterizedConv2D",
]
