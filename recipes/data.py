"""Loads the data set that the flags name."""

import dataclasses
import functools
import hashlib
import json
import math
import sys
import warnings

import keras
import numpy as np

from keras_diffkd.errors import DataWarning

from . import cluster, flags, tasks

# Memory for the images on which artifacts are compared.
MAX_SAMPLE_BYTES = 2**30
# The number that quantizers usually take.
NUM_CALIBRATION_SAMPLES = 256


def load_data(start_step=0, labeled_only=False):
    """Loads the data set that the flags describe.

    Args:
        start_step: int, the training step that the training data starts at.
        labeled_only: whether to leave out the images of `--unlabeled`.

    Returns:
        `ClassificationData`, `DetectionData` or `SegmentationData` of
        `keras_diffkd.datasets`, by the task.

    Raises:
        ValueError: if the data set is unknown, empty, or missing.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DataWarning)
        data = tasks.current().load(
            flags.DATASET.value,
            data_dir=flags.DATA_DIR.value,
            batch_size=flags.BATCH_SIZE.value,
            image_size=image_size(),
            train_split=flags.TRAIN_SPLIT.value,
            test_split=flags.TEST_SPLIT.value,
            augment=flags.AUGMENT.value,
            seed=flags.SEED.value,
            start_step=start_step,
            shard=cluster.shard(),
            download=flags.DOWNLOAD.value,
            bad_images=flags.BAD_IMAGES.value,
            **_balance(),
            **_views(),
            **_color_mode(),
            **({} if labeled_only else _unlabeled()),
        )
    for warning in caught:
        if issubclass(warning.category, DataWarning):
            _say_once(f"warning: {warning.message}", sys.stderr)
        else:
            warnings.warn(warning.message, stacklevel=2)
    _say_once(data.description, sys.stdout)
    return data


def load_again(data, start_step):
    """Loads a data set of `load_data` or `labeled_part`, from a later step on."""
    unlabeled = getattr(data, "num_unlabeled_examples", 0)
    return load_data(start_step=start_step, labeled_only=not unlabeled)


def labeled_part(data):
    """Returns the data set for training without a teacher, with the same steps.

    Args:
        data: data set from `load_data`.
    """
    if flags.UNLABELED.value is None:
        return data
    labeled = load_data(labeled_only=True)
    return dataclasses.replace(labeled, steps_per_epoch=data.steps_per_epoch)


@functools.cache
def _say_once(text, file):
    """Prints a text the first time, and on the chief only."""
    if cluster.is_chief():
        print(text, file=file)


def _for_classification(flag, why, advice):
    """Returns a flag as an argument of the loader, if it is set.

    Args:
        flag: absl's `FlagHolder`.
        why: str, continues "--FLAG " for another task.
        advice: str, a sentence.

    Raises:
        ValueError: if the flag is set for another task.
    """
    if flag.value is None:
        return {}
    if flags.TASK.value != "classification":
        raise ValueError(
            f"--{flag.name} {why}. Received: --task={flags.TASK.value}. {advice}"
        )
    return {flag.name: flag.value}


def _color_mode():
    return _for_classification(
        flags.COLOR_MODE,
        "works for --task=classification only: models of other tasks take three "
        "channels",
        "Leave it out",
    )


def _unlabeled():
    argument = _for_classification(
        flags.UNLABELED, "works for --task=classification only", "Leave it out"
    )
    if argument and flags.METHOD.value == ["none"]:
        raise ValueError(
            "--unlabeled needs a method that learns from a teacher. Received: "
            "--method=none. Leave one of them out"
        )
    return argument


def _views():
    """Returns `--cache_views` as arguments of the loader, if it is set."""
    if flags.CACHE_VIEWS.value is None:
        return {}
    return {"views": flags.CACHE_VIEWS.value, "view_seed": flags.CACHE_SEED.value}


def _balance():
    return _for_classification(
        flags.EXAMPLES_PER_CLASS,
        "needs one label for each image, so it works for --task=classification only",
        "Use a slice, such as --train_split=train[:500].",
    )


def data_fingerprint(data):
    """Returns properties of the data that may not change when a training resumes.

    Args:
        data: data set from `load_data`.

    Returns:
        dict that JSON can hold: the data set's full name with its version, the splits,
        sizes, shapes, normalization, and a hash of the classes' names.
    """
    names = json.dumps(data.label_names).encode()
    return {
        "name": data.full_name,
        "train_split": flags.TRAIN_SPLIT.value,
        "test_split": flags.TEST_SPLIT.value,
        **_balance(),
        **_views(),
        "num_train_examples": data.num_train_examples,
        "num_test_examples": data.num_test_examples,
        "image_shape": list(data.image_shape),
        "classes": data.num_classes,
        "label_names (SHA-256)": hashlib.sha256(names).hexdigest(),
        "normalization": data.normalization,
    }


def image_size():
    """Returns `--image_size` as an integer, as `(height, width)`, or `None`.

    Raises:
        ValueError: if the flag is none of these.
    """
    text = flags.IMAGE_SIZE.value
    if text is None:
        return None
    sides = text.split("x")
    if len(sides) > 2 or not all(side.isdecimal() and int(side) for side in sides):
        raise ValueError(
            f"--image_size must be pixels, 224 or 512x1024. Received: {text!r}"
        )
    height, *width = map(int, sides)
    return (height, *width) if width else height


def take_samples(data):
    """Collects the test split, or the part of it that fits into 1 GiB.

    Images are normalized, as the student takes them. For artifacts of raw pixels,
    `export` restores the pixels.

    Args:
        data: data set from `load_data`.

    Returns:
        `(images, targets)`: float32 array `(examples, height, width, channels)`, and
        an array or a dictionary of arrays.
    """
    bytes_per_image = 4 * math.prod(data.image_shape)
    count = min(data.num_test_examples, MAX_SAMPLE_BYTES // bytes_per_image)
    batches = list(data.test.unbatch().take(count).batch(1024).as_numpy_iterator())
    return keras.tree.map_structure(lambda *parts: np.concatenate(parts), *batches)


def take_calibration(data):
    """Collects training images from which quantizers learn ranges of activations.

    The test split stays unseen: it measures the cost of quantization.

    Args:
        data: data set from `load_data`.

    Returns:
        float32 array `(examples, height, width, channels)`.
    """
    images = data.train.unbatch().take(NUM_CALIBRATION_SAMPLES)
    return np.stack([image for image, *_ in images.as_numpy_iterator()])
