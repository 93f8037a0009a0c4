"""Bridges to other libraries."""

from keras_diffkd.interop import pytorch

__all__ = ["pytorch"]
