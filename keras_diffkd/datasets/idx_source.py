"""Reads examples from a folder of IDX files, such as those of Fashion-MNIST."""

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from keras_diffkd.idx import idx_fingerprint, is_idx_folder, read_idx_folder

# Data sets that are published as IDX files.
IDX_NAMES = ("mnist", "fashion_mnist", "kmnist", "emnist")


def idx_folder(name, data_dir=None):
    """Returns the folder of IDX files that is meant, or `None` for another data set.

    Args:
        name: Such a folder, or one of `IDX_NAMES` if `data_dir` is such a folder.
        data_dir: Folder, or `None`.
    """
    if is_idx_folder(name):
        return name
    if name in IDX_NAMES and is_idx_folder(data_dir):
        return data_dir
    return None


def idx_full_name(name, folder):
    """Returns the name and the fingerprint of a folder of IDX files.

    Args:
        name: As for `idx_folder`.
        folder: The folder.
    """
    known = name if name in IDX_NAMES else "idx"
    return f"{known}:{idx_fingerprint(folder)[:16]}"


class IdxSource:
    """Reads images and labels from a folder of IDX files into memory.

    It has the interface of `ClassificationSource`. The splits are "train" and "test".

    Args:
        folder: Path of a folder with the four files (see `keras_diffkd.idx`).
        name: Optional name of the data set, to look up its conventions.

    Attributes:
        image_shape: `(height, width, 1)`.
        num_classes: Integer, the largest label plus one.
        label_names: List of strings, the labels.

    Raises:
        ValueError: If a file is missing or damaged (see `read_idx_folder`).
    """

    def __init__(self, folder, name=None):
        self.name = name
        self._folder = folder
        arrays = read_idx_folder(folder)
        labels = np.concatenate([labels for _, labels in arrays.values()])
        self.num_classes = int(labels.max()) + 1
        self.label_names = [str(label) for label in range(self.num_classes)]
        self.image_shape = (*arrays["train"][0].shape[1:], 1)
        self._lengths = {split: len(labels) for split, (_, labels) in arrays.items()}
        with tf.device("CPU"):
            self._arrays = {
                split: (tf.constant(images[..., None]), tf.constant(labels))
                for split, (images, labels) in arrays.items()
            }

    @property
    def title(self):
        """Returns how the user knows the data set."""
        return str(self._folder)

    def settle_size(self, splits, image_size):
        """Does nothing, because all images have the same size."""

    def bytes_per_example(self):
        """Returns how much an image takes: all of them are in memory."""
        return self.image_shape[0] * self.image_shape[1]

    def default_test_split(self):
        """Returns "test"."""
        return "test"

    def read(self, split, file_seed=None):
        """Returns a `tf.data.Dataset` of (uint8 image, int64 label), in file order.

        Args:
            split: Split or slice of one, for example "train[:80%]".
            file_seed: Not used, because there is only one file per split.

        Raises:
            ValueError: If the split is unknown or empty.
        """
        del file_seed
        parts = [
            tf.data.Dataset.range(first, last).map(self._example(name))
            for name, first, last in self._ranges(split)
        ]
        examples = parts[0]
        for part in parts[1:]:
            examples = examples.concatenate(part)
        return examples

    def read_numbered(self, split, file_seed=None):
        """Returns a `tf.data.Dataset` of (number in the split, example of `read`)."""
        return self.read(split, file_seed).enumerate()

    @property
    def full_name(self):
        """Returns the name of the data set and the fingerprint of its files."""
        return idx_full_name(self.name, self._folder)

    def count(self, split):
        """Returns the number of examples of a split.

        Raises:
            ValueError: If the split is unknown or empty.
        """
        return sum(last - first for _, first, last in self._ranges(split))

    def decode(self, image):
        """Returns the uint8 `(height, width, 1)` of an image."""
        return tf.ensure_shape(image, self.image_shape)

    def check_label(self, label):
        """Returns the label, which needs no check: it defined the classes."""
        return label

    def _example(self, split):
        images, labels = self._arrays[split]
        return lambda index: (tf.gather(images, index), tf.gather(labels, index))

    def _ranges(self, split):
        """Returns `(name, first, last)` of the parts of a split."""
        splits = tfds.core.splits.SplitDict(
            [
                tfds.core.splits.SplitInfo(
                    name=name, shard_lengths=[length], num_bytes=0
                )
                for name, length in self._lengths.items()
            ]
        )
        try:
            parts = tfds.core.ReadInstruction.from_spec(split).to_absolute(splits)
        except (ValueError, KeyError, AssertionError, TypeError, AttributeError) as e:
            raise ValueError(
                f"{self._folder} has no examples in the split {split!r}: {e}. Use a "
                "slice of 'train' or 'test'."
            ) from e
        ranges = []
        for part in parts:
            length = self._lengths[part.splitname]
            first = 0 if part.from_ is None else part.from_
            last = length if part.to is None else part.to
            ranges.append((part.splitname, first, last))
        if not sum(max(0, last - first) for _, first, last in ranges):
            raise ValueError(
                f"{self._folder} has no examples in the split {split!r}. Its splits "
                f"have {self._lengths} examples. Use a larger slice."
            )
        return ranges
