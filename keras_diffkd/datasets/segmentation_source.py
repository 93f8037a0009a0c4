"""Reads images with class masks from a prepared TFDS data set."""

import operator

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from keras_diffkd.datasets.features import find_image, find_mask
from keras_diffkd.datasets.tfds_source import TfdsSource

# The check decodes masks, which takes a second for thousands of small ones or 100
# photographs.
_NUM_MASKS_CHECKED = 4096
_PIXELS_CHECKED = 2**26

_UNKNOWN = -1


class SegmentationSource(TfdsSource):
    """Reads the image and the mask from a prepared TFDS data set.

    Args:
        builder: A `tfds.core.DatasetBuilder` whose data is prepared.
        known: `SegmentationConventions` of the data set.
        ignore_label: Integer, the label for pixels without a class.

    Attributes:
        image_shape: `(height, width, channels)`. Height and width are `None` if the
            images differ in size.
        num_classes: Integer.
        label_names: List of strings.

    Raises:
        ValueError: If the data set does not have uint8 images with one mask each, or
            if its classes are unknown.

    Example:

    >>> from keras_diffkd.datasets.known import SEGMENTATION
    >>> from keras_diffkd.datasets.preparation import prepared_builder
    >>> builder = prepared_builder("digit_scenes/small", "/tmp/data")
    >>> source = SegmentationSource(builder, SEGMENTATION["digit_scenes"], 255)
    >>> image, mask = next(iter(source.read("test")))
    >>> source.decode(image).shape, source.decode_mask(mask).shape
    (TensorShape([64, 64, 3]), TensorShape([64, 64, 1]))
    """

    def __init__(self, builder, known, ignore_label):
        super().__init__(builder)
        features = builder.info.features
        self._mask_key = find_mask(self._name, features)
        self._image_key = find_image(self._name, features)
        self._image, self._mask = features[self._image_key], features[self._mask_key]
        keys = self._image_key, self._mask_key
        self._decoders = tfds.decode.PartialDecoding(
            dict.fromkeys(keys, True),
            dict.fromkeys(keys, tfds.decode.SkipDecoding()),
        )
        self._pair = operator.itemgetter(*keys)
        self.image_shape = tuple(self._image.shape)
        self.label_names = list(known.label_names or self._names_of_mask())
        self.num_classes = len(self.label_names)
        self._classes = np.full(256, _UNKNOWN, np.int32)
        self._classes[list(known.ignored)] = ignore_label
        self._classes[list(known.values or range(self.num_classes))] = np.arange(
            self.num_classes
        )

    def _names_of_mask(self):
        if not getattr(self._mask, "num_classes", None):
            raise ValueError(
                f"{self._name} does not name the classes of its masks. Received: "
                f"{self._mask_key!r}: {self._mask!r}. Prepare it with a "
                "`tfds.features.LabeledImage` that names them."
            )
        # Pixels are bytes, and 255 stands for ignored pixels.
        if self._mask.num_classes > 255:
            raise ValueError(
                f"{self._name} must have at most 255 classes. Received: "
                f"{self._mask.num_classes}. Merge classes when you prepare it."
            )
        return self._mask.names

    def read(self, split, file_seed=None):
        """Returns a `tf.data.Dataset` of (encoded image, encoded mask).

        Arguments and errors are those of `TfdsSource`.
        """
        examples = self._examples(split, file_seed, self._decoders)
        return examples.map(self._pair)

    def read_numbered(self, split, file_seed=None):
        """Returns a `tf.data.Dataset` of (number, example of `read`).

        See `ClassificationSource.read_numbered`.
        """
        examples = self._numbered_examples(split, file_seed, self._decoders)
        return examples.map(lambda number, example: (number, self._pair(example)))

    def count(self, split):
        """Checks the first masks of a split and returns its number of examples.

        Raises:
            ValueError: If the split is unknown or empty, if one of the first masks
                (4096 small ones, or 64 million pixels) has pixels of an unknown class,
                or if all of their pixels are void.
        """
        examples = self.read(split)
        masks = examples.map(lambda _, mask: self._count_values(mask), tf.data.AUTOTUNE)
        found, pixels, looked_at = np.zeros(256, np.int64), 0, 0
        for histogram in masks.take(_NUM_MASKS_CHECKED).as_numpy_iterator():
            self._check_values(histogram, f"Example {looked_at} of {split!r}")
            found += histogram
            looked_at += 1
            pixels += histogram.sum()
            if pixels >= _PIXELS_CHECKED:
                break
        if not looked_at:
            raise ValueError(self._no_examples(split))
        if not found[self._class_values()].any():
            raise ValueError(
                f"{self._name} has no classes in the masks of the split {split!r}: "
                f"all pixels of the first {looked_at} are void. Use another split."
            )
        return int(examples.cardinality())

    def _check_values(self, histogram, place):
        unknown = np.flatnonzero((histogram > 0) & (self._classes == _UNKNOWN))
        if unknown.size:
            raise ValueError(
                f"{self._name} has masks with unknown classes. {place} has the pixel "
                f"values {unknown[:10].tolist()}; expected those of its "
                f"{self.num_classes} classes, {self._known_values()}. Use another "
                "split, or repair the data set."
            )

    def _count_values(self, mask):
        pixels = tf.cast(self._mask.decode_example(mask), tf.int32)
        return tf.math.bincount(tf.reshape(pixels, [-1]), minlength=256, maxlength=256)

    def _class_values(self):
        classes = (self._classes >= 0) & (self._classes < self.num_classes)
        return np.flatnonzero(classes)

    def _known_values(self):
        values = np.flatnonzero(self._classes != _UNKNOWN)
        whole = len(values) == values[-1] - values[0] + 1
        return f"{values[0]}..{values[-1]}" if whole else values.tolist()

    def decode_mask(self, mask):
        """Returns the int32 classes `(height, width, 1)` of an encoded mask.

        Raises:
            tf.errors.InvalidArgumentError: When a mask with unknown classes is
                read.
        """
        mask = tf.cast(self._mask.decode_example(mask), tf.int32)
        classes = tf.gather(self._classes, mask)
        check = tf.debugging.Assert(
            tf.reduce_all(classes != _UNKNOWN),
            [
                f"{self._name} has a mask with unknown classes:",
                tf.unique(tf.reshape(mask, [-1]))[0],
            ],
        )
        with tf.control_dependencies([check]):
            return tf.identity(classes)
