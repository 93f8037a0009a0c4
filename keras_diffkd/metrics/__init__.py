"""Metrics of detectors and segmenters, as the literature reports them."""

from keras_diffkd.metrics.coco import coco_map
from keras_diffkd.metrics.detections import detections
from keras_diffkd.metrics.iou import mean_iou

__all__ = ["coco_map", "detections", "mean_iou"]
