"""Reads examples with encoded images from a prepared TFDS data set."""

import contextlib
import os

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from absl import logging

from keras_diffkd.datasets.sizes import size_question, stored_sizes


class TfdsSource:
    """Reads chosen features of a prepared TFDS data set; the base of all sources.

    Images stay encoded until they are needed for a batch, so that a shuffle buffer of
    photographs takes a fifth of the memory.

    Args:
        builder: A `tfds.core.DatasetBuilder` whose data is prepared.
    """

    def __init__(self, builder):
        self._builder = builder

    @property
    def name(self):
        """Returns the name of the data set without config and version."""
        return self._builder.name

    @property
    def full_name(self):
        """Returns the name of the data set with config and version."""
        return self._builder.info.full_name

    @property
    def title(self):
        """Returns how the user knows the data set, and where a user's images are."""
        path = getattr(self._builder, "user_path", None)
        return f"{path} (in {self._builder.data_dir})" if path else self.full_name

    @property
    def _name(self):
        path = getattr(self._builder, "user_path", None)
        return f"The data set {path or self.full_name!r}"

    def settle_size(self, splits, image_size):
        """Sets the size of images whose metadata does not tell it, if it is one size.

        It looks at the first 4096 images of the splits.

        Args:
            splits: Iterable of splits.
            image_size: The size that the user gave, or `None`.

        Raises:
            ValueError: If the images differ in size and `image_size` is `None`.
        """
        if self.image_shape[0] is not None:
            return
        sizes = stored_sizes(self, splits)
        if len(sizes) == 1:
            self.image_shape = (*next(iter(sizes)), self.image_shape[-1])
        elif image_size is None:
            raise ValueError(size_question(self.full_name, sizes))

    def decode(self, image):
        """Returns the uint8 `(height, width, channels)` of an encoded image.

        Raises:
            tf.errors.InvalidArgumentError: When an image has another size than those
                before it, which `settle_size` has looked at.
        """
        decoded = self._image.decode_example(image)
        if decoded.shape == self.image_shape or self.image_shape[0] is None:
            return decoded
        check = tf.debugging.Assert(
            tf.reduce_all(tf.shape(decoded) == self.image_shape),
            [
                f"{self._name} has an image of another size than "
                f"{self.image_shape[:2]}, the size of its first images:",
                tf.shape(decoded),
            ],
        )
        with tf.control_dependencies([check]):
            return tf.ensure_shape(decoded, self.image_shape)

    def bytes_per_example(self):
        """Returns how much an encoded example takes, on average."""
        splits = self._builder.info.splits.values()
        num_examples = sum(split.num_examples for split in splits)
        return sum(split.num_bytes for split in splits) / max(1, num_examples)

    def default_test_split(self):
        """Returns "test", or "validation" if there is no "test"."""
        splits = self._builder.info.splits
        return (
            "validation" if "test" not in splits and "validation" in splits else "test"
        )

    def _numbered_examples(self, split, file_seed, decoders):
        """Returns (number in the split, example), with the arguments of `_examples`.

        The number counts the examples file by file, regardless of the order of reading.
        Without `file_seed`, the numbers are in order.
        """
        # One file after the other.
        config = {"interleave_cycle_length": 1}
        in_order = self._examples(split, None, decoders, **config).enumerate()
        if file_seed is None:
            return in_order
        files = self._builder.info.splits[split].file_instructions
        names = [os.path.basename(file.filename) for file in files]
        if len(names) == 1 or len(set(names)) < len(names):
            # With two slices of a file, an example's identity would be ambiguous.
            return in_order
        begins = np.cumsum([0, *(file.take for file in files[:-1])])
        firsts = [begin - file.skip for begin, file in zip(begins, files, strict=True)]

        def numbered(example):
            identity = example.pop("tfds_id")
            name = tf.strings.regex_replace(identity, r"^.*/|__\d+$", "")
            inside = tf.strings.regex_replace(identity, r"^.*__", "")
            first = tf.constant(firsts, tf.int64)[tf.argmax(tf.equal(names, name))]
            return first + tf.strings.to_number(inside, tf.int64), example

        examples = self._examples(split, file_seed, decoders, add_tfds_id=True)
        return examples.map(numbered)

    def _examples(self, split, file_seed, decoders, **settings):
        """Returns the examples of a split as dictionaries.

        Args:
            split: Split or slice of one, for example "train[:80%]".
            file_seed: Integer or int64 tensor that determines the order of the files,
                or `None` for the order of the data set.
            decoders: As in `tfds.core.DatasetBuilder.as_dataset`.
            **settings: Further arguments of `tfds.ReadConfig`.

        Raises:
            ValueError: If the split is unknown or empty.
        """
        if not isinstance(split, (str, tfds.core.ReadInstruction)):
            raise ValueError(
                f"A split must be a string such as 'train[:80%]'. Received: {split!r}."
            )
        config = tfds.ReadConfig(
            shuffle_seed=file_seed,
            shuffle_reshuffle_each_iteration=False,
            try_autocache=False,
            enable_ordering_guard=False,
            **settings,
        )
        try:
            with without_warnings():
                return self._builder.as_dataset(
                    split=split,
                    shuffle_files=file_seed is not None,
                    decoders=decoders,
                    read_config=config,
                )
        except ValueError as error:
            raise ValueError(f"{self._no_examples(split)[:-1]}: {error}") from error

    def _no_examples(self, split):
        return f"{self._name} has no examples in the split {split!r}."


@contextlib.contextmanager
def without_warnings():
    """Silences TFDS, which warns of its own use of deprecated functions."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
