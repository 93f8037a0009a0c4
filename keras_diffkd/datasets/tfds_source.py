"""Reads examples with encoded images from a prepared TFDS data set."""

import contextlib
import os

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from absl import logging


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
    def _name(self):
        return f"The data set {self._builder.info.full_name!r}"

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
            with _without_warnings():
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
def _without_warnings():
    """Silences TFDS, which warns of its own use of deprecated functions."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
