"""Loading the data set that the flags name."""

import math

import numpy as np

from keras_diffkd import datasets
from keras_diffkd.recipes import cluster, flags

# What the images that artefacts are compared on may take up.
MAX_SAMPLE_BYTES = 2**30


def load_data(start_step=0):
    """Loads the data set that the flags describe.

    Args:
        start_step: int, the training step that the training data starts at.

    Returns:
        `keras_diffkd.datasets.ClassificationData`.

    Raises:
        ValueError: if the data set is unknown, empty, or not there.
    """
    return datasets.load_classification(
        flags.DATASET.value,
        data_dir=flags.DATA_DIR.value,
        batch_size=flags.BATCH_SIZE.value,
        image_size=flags.IMAGE_SIZE.value,
        train_split=flags.TRAIN_SPLIT.value,
        test_split=flags.TEST_SPLIT.value,
        augment=flags.AUGMENT.value,
        seed=flags.SEED.value,
        start_step=start_step,
        shard=cluster.shard(),
        download=flags.DOWNLOAD.value,
    )


def take_samples(data):
    """Collects the test split, or as much of it as reasonably fits into memory.

    Args:
        data: `ClassificationData`.

    Returns:
        `(images, labels)`: float32 array `(examples, height, width, channels)` and
        integer array `(examples,)`.
    """
    bytes_per_image = 4 * math.prod(data.image_shape)
    count = min(data.num_test_examples, MAX_SAMPLE_BYTES // bytes_per_image)
    batches = list(data.test.unbatch().take(count).batch(1024).as_numpy_iterator())
    images, labels = zip(*batches, strict=True)
    return np.concatenate(images), np.concatenate(labels)
