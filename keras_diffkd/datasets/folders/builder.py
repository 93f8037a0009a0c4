"""Prepares a user's images as a data set of TFDS, once."""

import csv
import shutil
from pathlib import Path

import tensorflow_datasets as tfds

from keras_diffkd.datasets.folders.image_file import encoded
from keras_diffkd.datasets.tfds_source import without_warnings
from keras_diffkd.silent_prints import silent_prints

# The table of a prepared data set that names the images of each split.
FILES = "files.csv"
# Above, the progress bars of TFDS are shown.
_MANY = 10_000


def data_root(data_dir):
    """Returns the folder of prepared data sets as a `Path`."""
    return Path(data_dir or tfds.core.constants.DATA_DIR).expanduser()


def build(kind, fingerprint, features, examples, target, data_dir, path):
    """Returns the TFDS builder of a user's images, prepared.

    Args:
        kind: String, the name of the builder.
        fingerprint: String, the name of its config. Images, targets and splits
            determine it.
        features: Dict of the features besides "image", and the feature "image".
        examples: List of examined `Example`s, or `None` if the data set is prepared.
        target: Callable from an `Example` to a dict of its features besides "image".
        data_dir: Folder of prepared data sets, or `None` for that of TFDS.
        path: What the user named, for errors.

    Raises:
        ValueError: If the images cannot be written.
    """

    class UserImages(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        """Holds the images of one user."""

        name = kind
        VERSION = tfds.core.Version("1.0.0")
        user_path = str(path)

        def _info(self):
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict(features)
            )

        def _split_generators(self, dl_manager):
            del dl_manager
            splits = dict.fromkeys(example.split for example in examples)
            return {split: self._generate_examples(split) for split in splits}

        def _generate_examples(self, split):
            for example in examples:
                if example.split == split:
                    image = encoded(example.image, example.file)
                    yield str(example.image), {"image": image, **target(example)}

    root = data_root(data_dir)
    # TFDS warns of a config that it does not know.
    with without_warnings():
        config = tfds.core.BuilderConfig(name=fingerprint)
        builder = UserImages(data_dir=root, config=config)
        if not builder.is_prepared():
            _prepare(builder, root, examples)
            _write_table(builder, examples)
    return builder


def _prepare(builder, root, examples):
    try:
        _check_space(root, examples)
        if len(examples) > _MANY:
            builder.download_and_prepare()
        else:
            with silent_prints():
                builder.download_and_prepare()
    except OSError as error:
        # Another process may have been faster, so that moving the result failed.
        if not builder.is_prepared():
            raise ValueError(
                f"{builder.user_path} cannot be prepared in {root}: {error}. Give "
                "another folder, with --data_dir (data_dir in Python)."
            ) from error


def _write_table(builder, examples):
    """Writes which image is in which split, for the user."""
    table = Path(builder.data_dir) / FILES
    with open(table, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "split"])
        writer.writerows([example.image, example.split] for example in examples)


def _check_space(root, examples):
    """Raises `OSError` if the copies of the images do not fit on the disk."""
    root.mkdir(parents=True, exist_ok=True)
    needed = sum(example.image.stat().st_size for example in examples)
    free = shutil.disk_usage(root).free
    if needed > free:
        raise OSError(f"the images need {needed:,} bytes, and {free:,} are free")
