"""Reads encoded images and labels from a prepared TFDS data set."""

import operator

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from keras_diffkd.datasets.tfds_source import TfdsSource

# Number of examples of a split whose labels are checked first.
_NUM_LABELS_CHECKED = 4096


class ClassificationSource(TfdsSource):
    """Reads the image and the class label from a prepared TFDS data set.

    Args:
        builder: A `tfds.core.DatasetBuilder` whose data is prepared.

    Attributes:
        image_shape: `(height, width, channels)`. Height and width are `None` if the
            images differ in size.
        num_classes: Integer.
        label_names: List of strings.

    Raises:
        ValueError: If the data set does not have uint8 images with one class label
            each.

    Example:

    >>> from keras_diffkd.datasets.preparation import prepared_builder
    >>> source = ClassificationSource(prepared_builder("digits", "/tmp/data"))
    >>> image, label = next(iter(source.read("test")))
    >>> source.decode(image).shape
    TensorShape([8, 8, 1])
    """

    def __init__(self, builder):
        super().__init__(builder)
        features = builder.info.features
        self._image_key, self._label_key = self._find_keys(features)
        self._image, label = features[self._image_key], features[self._label_key]
        if (
            not isinstance(self._image, tfds.features.Image)
            or self._image.np_dtype != np.uint8
            or not isinstance(label, tfds.features.ClassLabel)
            or not label.num_classes
        ):
            raise ValueError(
                f"{self._name} is not an image classification data set: expected a "
                "uint8 image and one class label with known classes. Received: "
                f"{self._image!r} and {label!r}."
            )
        self._decoders = {self._image_key: tfds.decode.SkipDecoding()}
        self._pair = operator.itemgetter(self._image_key, self._label_key)
        self._lowest_label = 0
        self.image_shape = tuple(self._image.shape)
        self.num_classes = label.num_classes
        self.label_names = list(label.names)

    def _find_keys(self, features):
        """Returns the keys of image and label, by `supervised_keys` or by their kind.

        Raises:
            ValueError: If there is not one of each.
        """
        keys = self._builder.info.supervised_keys
        if keys is None and {"image", "label"} <= set(features):
            return "image", "label"
        if (
            not isinstance(keys, tuple)
            or len(keys) != 2
            or not all(isinstance(key, str) and key in features for key in keys)
        ):
            raise ValueError(
                f"{self._name} is not an image classification data set: its "
                "`supervised_keys` must name one image and one label, or be None with "
                f"features 'image' and 'label'. Received: {keys!r} and the features "
                f"{sorted(features)}."
            )
        return keys

    def read(self, split, file_seed=None):
        """Returns a `tf.data.Dataset` of (encoded image, int64 label).

        Args:
            split: Split or slice of one, for example "train[:80%]".
            file_seed: Integer or int64 tensor that determines the order of the files.
                Defaults to the order of the data set.

        Raises:
            ValueError: If the split is unknown or empty.
        """
        examples = self._examples(split, file_seed, self._decoders)
        return examples.map(self._pair)

    def read_numbered(self, split, file_seed=None):
        """Returns a `tf.data.Dataset` of (number, example of `read`).

        The number is that of the example in the split, file by file, regardless of
        the order of reading. Without `file_seed`, the numbers are in order.

        Arguments and errors are those of `read`.
        """
        examples = self._numbered_examples(split, file_seed, self._decoders)
        return examples.map(lambda number, example: (number, self._pair(example)))

    def count(self, split):
        """Checks the first labels of a split and returns its number of examples.

        Raises:
            ValueError: If the split is unknown or empty, or if one of its first
                4096 labels is outside the classes.
        """
        examples = self.read(split)
        labels = read_labels(examples.take(_NUM_LABELS_CHECKED))
        if not labels.size:
            raise ValueError(self._no_examples(split))
        wrong = labels[(labels < 0) | (labels >= self.num_classes)]
        if wrong.size:
            raise ValueError(
                f"{self._name} has labels outside its {self.num_classes} classes in "
                f"the split {split!r} (-1 stands for examples without a label). "
                f"Received: {np.unique(wrong)[:10].tolist()}. Use another split, or "
                "repair the data set."
            )
        return int(examples.cardinality())

    def count_unlabeled(self):
        """Returns the size of the split "unlabeled", and allows its label, -1."""
        self._lowest_label = -1
        return self._builder.info.splits["unlabeled"].num_examples

    def check_label(self, label):
        """Returns the label and checks when it is read that it is one of the classes.

        Raises:
            tf.errors.InvalidArgumentError: When an example with a label outside the
                classes is read.
        """
        check = tf.debugging.Assert(
            (label >= self._lowest_label) & (label < self.num_classes),
            [
                f"{self._name} has a label outside its {self.num_classes} classes:",
                label,
            ],
        )
        with tf.control_dependencies([check]):
            return tf.identity(label)


def read_labels(examples):
    """Returns the labels of a `tf.data.Dataset` of (image, label), as an int64 array.

    Python takes longer for an element of a data set than TensorFlow for a thousand.
    """
    batches = examples.map(lambda image, label: label).batch(_NUM_LABELS_CHECKED)
    return np.concatenate([np.zeros(0, np.int64), *batches.as_numpy_iterator()])
