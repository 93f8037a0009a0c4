"""Reads the same number of examples of each class."""

import numpy as np
import tensorflow as tf

from keras_diffkd.datasets.source import read_labels
from keras_diffkd.idx import balanced_subset


class BalancedSource:
    """Reads a class-balanced subset of one split of another source.

    It reads all labels of the split once. Each epoch reads the whole split and skips
    the other examples, without decoding them.

    Args:
        source: A `ClassificationSource` or an `IdxSource`.
        split: Split or slice of one.
        per_class: Integer, the number of examples of each class.
        seed: Non-negative integer. The same seed draws the same examples.

    Attributes:
        image_shape: `(height, width, channels)` of the source.
        num_examples: Integer, the number of examples in the subset.

    Raises:
        ValueError: If the split is unknown or a class has too few examples.

    Example:

    >>> from keras_diffkd.datasets.classification import open_source
    >>> digits, _ = open_source("digits", "/tmp/data")
    >>> source = BalancedSource(digits, "train", 5, seed=0)
    >>> source.num_examples
    50
    """

    def __init__(self, source, split, per_class, seed):
        labels = read_labels(source.read(split))
        chosen = balanced_subset(labels, per_class, seed)
        self.image_shape = source.image_shape
        self.num_examples = len(chosen)
        self._source = source
        is_chosen = np.zeros(len(labels), bool)
        is_chosen[chosen] = True
        with tf.device("CPU"):
            self._is_chosen = tf.constant(is_chosen)

    def read(self, split, file_seed=None):
        """Returns a `tf.data.Dataset` of the subset's (image, label), in order.

        Args:
            split: The split that contains the subset.
            file_seed: Not used, because the subset depends on the order of the split.
        """
        examples = self._source.read(split).enumerate()
        chosen = examples.filter(lambda index, _: tf.gather(self._is_chosen, index))
        return chosen.map(lambda _, example: example)

    def read_numbered(self, split, file_seed=None):
        """Returns a `tf.data.Dataset` of (number in the subset, example of `read`)."""
        return self.read(split, file_seed).enumerate()
