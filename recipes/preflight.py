"""Checks a training, and describes it, before anything is written."""

import math
import sys

import keras
import numpy as np

from keras_diffkd.export.records.table import align_columns
from keras_diffkd.preflight import COLUMNS, feature_rows
from keras_diffkd.teacher_cache import stored_outputs
from keras_diffkd.validation.findings import Findings

from . import cluster, flags, tasks
from .data import image_size
from .flag_words import in_flags
from .methods import build_methods
from .schedules import build_schedule
from .tasks.task import evaluate, forward

# The largest integer that TensorFlow's operations take.
LARGEST_INTEGER = 2**31 - 1
# Batches of the test split that judge a detector's boxes.
DETECTION_BATCHES = 2
# A trained detector is far above, one trained on other colors far below.
LOWEST_MAP50 = 0.01


def check_flags(required, *, method):
    """Checks the flags alone.

    Args:
        required: names of the flags that must have a value.
        method: whether to check `--method`.

    Raises:
        PreflightError: with all problems.
    """
    findings = Findings()
    for name in required:
        with findings.collecting():
            flags.require(name)
    for flag in flags.shared():
        with findings.collecting():
            check_range(flag.name, flag.value)
    with findings.collecting():
        image_size()
    if math.isfinite(flags.LEARNING_RATE.value):
        with findings.collecting():
            build_schedule(steps_per_epoch=1)
    if method:
        with findings.collecting():
            build_methods(flags.METHOD.value)
    findings.raise_errors()


def check_range(name, value):
    """Raises `ValueError` for numbers that no flag can use.

    Args:
        name: str, the flag.
        value: its value.
    """
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"--{name} must be a finite number. Received: {value}")
    if isinstance(value, int) and value > LARGEST_INTEGER:
        raise ValueError(
            f"--{name} must be at most {LARGEST_INTEGER}. Received: {value}"
        )


def check_training(distiller, data, teacher_name=None):
    """Checks a training on its first batches, and prints the features it compares.

    Args:
        distiller: compiled `Distiller`.
        data: data set of the task.
        teacher_name: str, the value of `--teacher`.

    Raises:
        PreflightError: with all problems.
    """
    # The command sets the arguments of `fit`; only the data is unknown.
    findings = distiller.preflight(data.train, epochs=flags.EPOCHS.value)
    check_normalization(findings, data.normalization)
    findings.raise_errors()
    if distiller.methods:
        say(align_columns(COLUMNS, feature_rows(distiller)))
        say(describe_teacher(findings, distiller.teacher, data, teacher_name))
    for warning in findings.warnings:
        say(f"warning: {in_flags(warning, 'diffkd-distill')}", file=sys.stderr)


def check_normalization(findings, normalization):
    """Adds a problem if images are outside the range of normalized pixels.

    Args:
        findings: `Findings` that looked at the data.
        normalization: dict of `ClassificationData.normalization`.
    """
    images = None if findings.look is None else findings.look.x
    if isinstance(images, dict):
        # All that is not stored is the image.
        [images] = [images[name] for name in images.keys() - stored_outputs(images)]
    if not isinstance(images, np.ndarray):
        return
    mean, std = (np.array(normalization[key]) for key in ("mean", "std"))
    low, high = (0.0 - mean) / std, (1.0 - mean) / std
    between = tuple(range(images.ndim - 1))
    smallest, largest = images.min(between), images.max(between)
    if (smallest < low - 0.01).any() or (largest > high + 0.01).any():
        findings.error(
            "Images must be in the range to which the data set's normalization maps "
            f"pixels from 0 to 255: {_rounded(low)} to {_rounded(high)}. Received: "
            f"{_rounded(smallest)} to {_rounded(largest)}. The data pipeline "
            "normalizes twice, or not at all."
        )


def describe_teacher(findings, teacher, data, name):
    """Returns a line with the teacher's metric on a few batches.

    Args:
        findings: `Findings` that ran the teacher; gets a warning if it finds nothing.
        teacher: `keras.Model`.
        data: data set of the task.
        name: str, the value of `--teacher`.
    """
    task = tasks.current()
    if task.name == "detection":
        few = Few(data, DETECTION_BATCHES)
        found = evaluate(forward(teacher), few, task.evaluation(teacher, data))
        if found["mAP50"] < LOWEST_MAP50:
            findings.warn(
                f"The teacher {name} finds almost nothing. Received: mAP50 "
                f"{found['mAP50']:.3f} on the first test images. Check that it was "
                "trained on these classes and colors."
            )
        images = DETECTION_BATCHES * flags.BATCH_SIZE.value
        images = min(images, data.num_test_examples)
        return f"teacher {name}: mAP50 {found['mAP50']:.3f} on {images} test images"
    if findings.teacher_accuracy is None:
        return f"teacher {name}: not judged, because of few images or other classes"
    accuracy, count = findings.teacher_accuracy
    what = "training images"
    if task.name == "segmentation":
        what = f"pixels of {what}"
    return f"teacher {name}: accuracy {accuracy:.3f} on {count} {what}"


class Few:
    """Holds the beginning of a data set's test split, for `evaluate`.

    Args:
        data: data set of the task.
        batches: int.
    """

    def __init__(self, data, batches):
        self.test = data.test.take(batches)


def say(text, file=None):
    """Prints a text, once for all workers."""
    if cluster.is_chief():
        print(text, file=file)


def _rounded(values):
    return keras.tree.map_structure(lambda v: round(float(v), 3), list(values))
