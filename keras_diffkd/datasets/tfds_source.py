"""Reads examples with encoded images from a prepared TFDS data set."""

import contextlib

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

    def _examples(self, split, file_seed, decoders):
        """Returns the examples of a split as dictionaries.

        Args:
            split: Split or slice of one, for example "train[:80%]".
            file_seed: Integer or int64 tensor that determines the order of the files,
                or `None` for the order of the data set.
            decoders: As in `tfds.core.DatasetBuilder.as_dataset`.

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
