"""Loads TFDS data sets as batches for training and testing.

Importing this module registers the data sets `digits` and `digit_scenes` with TFDS.
"""

from keras_diffkd.datasets.classification import ClassificationData, load_classification
from keras_diffkd.datasets.detection import DetectionData, load_detection
from keras_diffkd.datasets.digit_scenes import DigitScenes
from keras_diffkd.datasets.digits import Digits
from keras_diffkd.datasets.segmentation import SegmentationData, load_segmentation

__all__ = [
    "ClassificationData",
    "DetectionData",
    "DigitScenes",
    "Digits",
    "SegmentationData",
    "load_classification",
    "load_detection",
    "load_segmentation",
]
