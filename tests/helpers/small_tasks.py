"""Detectors and segmenters that several tests distill."""

import numpy as np

from keras_diffkd import models

SHAPE = (32, 32, 3)
DETECTOR_TAP = "backbone/fpn"
DETECTOR_LEVELS = [f"{DETECTOR_TAP}:P3", f"{DETECTOR_TAP}:P4"]
SEGMENTER_TAP = "backbone/spatial_pyramid_pooling"


def detectors(**own_loss):
    """A teacher, and a student compiled with its own loss."""
    teacher = models.build_model("retinanet_scenes_teacher", SHAPE, 10)
    student = models.build_model("retinanet_scenes_student", SHAPE, 10)
    student.compile("sgd", **own_loss)
    return teacher, student


def segmenters():
    """A teacher and a student."""
    return tuple(
        models.build_model(f"deeplabv3_scenes_{role}", SHAPE, 11)
        for role in ("teacher", "student")
    )


def detection_batch(rng, size=8, objects=2):
    """Images of noise with boxes, as float32 pixels `xyxy`, and labels."""
    x = rng.normal(size=(size, *SHAPE)).astype("float32")
    corners = rng.uniform(0, 9, (size, objects, 2))
    # About the anchors' sizes and aspect: every image has some to learn from.
    sides = rng.uniform(12, 15, (size, objects, 1)) * np.array([1.0, 1.5])
    boxes = np.concatenate([corners, corners + sides], axis=-1)
    labels = rng.integers(0, 10, (size, objects))
    return x, {"boxes": boxes.astype("float32"), "labels": labels.astype("float32")}


def segmentation_batch(rng, size=8):
    """Images of noise with a class for every pixel."""
    x = rng.normal(size=(size, *SHAPE)).astype("float32")
    return x, rng.integers(0, 11, (size, *SHAPE[:2])).astype("int32")
