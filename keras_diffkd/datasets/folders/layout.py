"""Defines the interface between the kinds of a user's data sets and their opening."""

import numpy as np
import tensorflow_datasets as tfds


class Layout:
    """Describes the files of a user's data set: the base class.

    Args:
        path: What the user named.
        root: `Path` of the folder to which the names of files are relative.
        examples: List of `Example`.
        files: List of further `Path`s that the data set depends on.
        notes: List of strings about what is unusual, but usable.

    Attributes:
        kind: String, the name of the TFDS builder.
        channels: The number of channels of the images, or `None` for that of the files.
    """

    kind = None
    channels = 3

    def __init__(self, path, root, examples, files=(), notes=()):
        self.path = str(path)
        self.root = root
        self.examples = examples
        self.files = files
        self.notes = list(notes)

    def examine_target(self, example):
        """Reads the example's own files and returns their content for JSON, or `None`.

        Args:
            example: `Example` with its `ImageFile`.

        Raises:
            BadImageError: If the example cannot be used.
        """
        del example

    def settle(self, examples):
        """Returns the properties of the whole data set for JSON, with "label_names".

        Its "notes" are a list of strings for the user.

        Args:
            examples: List of examined `Example`s.

        Raises:
            ValueError: If the data set cannot be used.
        """
        raise NotImplementedError

    def features(self, settled):
        """Returns the TFDS features besides the image, by name."""
        raise NotImplementedError

    def target(self, example, settled):
        """Returns the values of these features for an examined example."""
        raise NotImplementedError

    def identity(self, example):
        """Returns for JSON everything that the target of an example depends on."""
        return example.target

    def stratum(self, example):
        """Returns the group of an example. Training and test get a share of each."""
        del example

    def strata(self):
        """Returns words about each stratum that training needs, by stratum."""
        return {None: "to train on"}

    def all_features(self, size, settled, channels):
        """Returns the TFDS features of an example.

        Args:
            size: `(height, width)`, of `None` if the images differ in size.
            settled: Dict of `settle`.
            channels: Integer.
        """
        image = tfds.features.Image(shape=(*size, channels), dtype=np.uint8)
        return {"image": image, **self.features(settled)}
