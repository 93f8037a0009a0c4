"""What the training commands check, and say, before they write anything."""

import math
import sys

import keras
import numpy as np

from keras_diffkd.preflight import COLUMNS, feature_rows
from keras_diffkd.validation.findings import Findings

from . import cluster, flags, tasks
from .data import image_size
from .methods import build_methods
from .schedules import build_schedule
from .tables import format_table
from .tasks.task import evaluate, forward

# What fits into the integers of TensorFlow's operations.
LARGEST_INTEGER = 2**31 - 1
# Batches of the test split that a detector's boxes are judged on.
DETECTION_BATCHES = 2
# A trained detector is far above, one of other colours far below.
LOWEST_MAP50 = 0.01


def check_flags(required, *, method):
    """Checks what can be told from the flags alone.

    Args:
        required: names of the flags that must have a value.
        method: whether `--method` counts.

    Raises:
        PreflightError: with everything that is wrong with them.
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
    """Raises `ValueError` for numbers that no flag has a use for.

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
    """Checks a training on its first batches; prints what it will compare.

    Args:
        distiller: compiled `Distiller`.
        data: What a task's `load` returned.
        teacher_name: str, how the teacher is called.

    Raises:
        PreflightError: with everything that stands against the training.
    """
    # All of `fit`'s own arguments are the command's; only the data is unknown.
    findings = distiller.preflight(data.train, epochs=flags.EPOCHS.value)
    check_normalization(findings, data.normalization)
    findings.raise_errors()
    if distiller.methods:
        say(format_table(COLUMNS, feature_rows(distiller)))
        say(describe_teacher(findings, distiller.teacher, data, teacher_name))
    for warning in findings.warnings:
        say(f"warning: {warning}", file=sys.stderr)


def check_normalization(findings, normalization):
    """Adds a problem if images lie outside what their normalisation makes of pixels.

    Args:
        findings: `Findings` that looked at the data.
        normalization: dict of `ClassificationData.normalization`.
    """
    if findings.look is None or not isinstance(findings.look.x, np.ndarray):
        return
    images = findings.look.x
    mean, std = (np.array(normalization[key]) for key in ("mean", "std"))
    low, high = (0.0 - mean) / std, (1.0 - mean) / std
    between = tuple(range(images.ndim - 1))
    smallest, largest = images.min(between), images.max(between)
    if (smallest < low - 0.01).any() or (largest > high + 0.01).any():
        findings.error(
            "Images must lie in what the data set's normalisation makes of pixels from "
            f"0 to 255: {_rounded(low)} to {_rounded(high)}. Received: "
            f"{_rounded(smallest)} to {_rounded(largest)}. The data pipeline "
            "normalises twice, or not at all."
        )


def describe_teacher(findings, teacher, data, name):
    """Returns a line that says how good the teacher is on a few batches.

    Args:
        findings: `Findings` that ran the teacher; gets a warning if it knows nothing.
        teacher: `keras.Model`.
        data: What a task's `load` returned.
        name: str, how the teacher is called.
    """
    task = tasks.current()
    if task.name == "detection":
        few = Few(data, DETECTION_BATCHES)
        found = evaluate(forward(teacher), few, task.evaluation(teacher, data))
        if found["mAP50"] < LOWEST_MAP50:
            findings.warn(
                f"The teacher {name} finds next to nothing. Received: mAP50 "
                f"{found['mAP50']:.3f} on the first test images. Was it trained on "
                "these classes and colours?"
            )
        images = DETECTION_BATCHES * flags.BATCH_SIZE.value
        images = min(images, data.num_test_examples)
        return f"teacher {name}: mAP50 {found['mAP50']:.3f} on {images} test images"
    if findings.teacher_accuracy is None:
        return f"teacher {name}: not judged, its outputs are not these classes"
    accuracy, count = findings.teacher_accuracy
    what = "training images"
    if task.name == "segmentation":
        what = f"pixels of {what}"
    return f"teacher {name}: accuracy {accuracy:.3f} on {count} {what}"


class Few:
    """The beginning of a data set's test split, for `evaluate`.

    Args:
        data: What a task's `load` returned.
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
