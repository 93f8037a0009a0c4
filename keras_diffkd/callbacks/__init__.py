"""Provides callbacks that draw features and save the progress of a training."""

from keras_diffkd.callbacks.feature_pictures import FeaturePictures
from keras_diffkd.resuming.training_backup import TrainingBackup

__all__ = ["FeaturePictures", "TrainingBackup"]
