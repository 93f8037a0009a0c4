"""Callbacks that show what a distillation does."""

from keras_diffkd.callbacks.feature_pictures import FeaturePictures

__all__ = ["FeaturePictures"]
