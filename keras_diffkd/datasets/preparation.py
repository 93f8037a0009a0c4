"""Finds TFDS data sets, and does not use the network unless it is allowed."""

import difflib
import os
import re

import tensorflow_datasets as tfds

from keras_diffkd.datasets.digit_scenes import DigitScenes
from keras_diffkd.datasets.digits import Digits
from keras_diffkd.silent_prints import silent_prints

# name[/config][:version]. TFDS looks up names with a namespace on the network.
_NAME = r"\w+(/[^:]+)?(:[\d.*]+)?"


def prepared_builder(name, data_dir=None, download=False):
    """Returns the TFDS builder of a data set that is ready to be read.

    `digits` and `digit_scenes` are prepared if necessary, because they need no
    download. TFDS prepares a data set in a temporary folder and then moves it, so that
    several processes can do so at the same time.

    Args:
        name: Name of a TFDS data set, optionally with config and version, for
            example "cifar100" or "imagenet2012_subset/10pct".
        data_dir: Folder of prepared data sets. Defaults to that of TFDS.
        download: Boolean, whether TFDS may download and prepare the data set.

    Raises:
        ValueError: If TFDS does not know the data set, if it is not prepared in
            `data_dir`, or if it could not be downloaded or prepared.

    Example:

    >>> prepared_builder("digits", data_dir="/tmp/data").info.splits["test"]
    <SplitInfo num_examples=445, num_shards=1>
    """
    builder = _find_builder(name, data_dir)
    if isinstance(builder, Digits | DigitScenes):
        # This takes seconds, so the progress bars of TFDS are hidden.
        with silent_prints():
            builder = _prepare(builder, name, data_dir)
    elif download:
        builder = _prepare(builder, name, data_dir)
    try:
        builder.as_dataset(split=[])  # TFDS asserts that the data is prepared.
    except AssertionError as error:
        raise ValueError(_not_prepared(builder, name)) from error
    return builder


def _find_builder(name, data_dir):
    if not isinstance(name, str):
        raise ValueError(f"`name` must be a string. Received: name={name!r}.")
    if data_dir is not None and not isinstance(data_dir, (str, os.PathLike)):
        raise ValueError(
            f"`data_dir` must be a folder or None. Received: data_dir={data_dir!r}."
        )
    if not re.fullmatch(_NAME, name):
        raise ValueError(_unknown(name))
    try:
        return tfds.builder(name, data_dir=data_dir, try_gcs=False)
    except tfds.core.registered.DatasetNotFoundError as error:
        raise ValueError(_unknown(name)) from error
    # TFDS raises these for a config or a version that does not exist.
    except (ValueError, AssertionError) as error:
        raise ValueError(
            f"TFDS cannot load {name!r}: {error}. Check the config and the version."
        ) from error


def _unknown(name):
    base_name = re.split("[:/]", name)[0]
    close = difflib.get_close_matches(base_name, tfds.list_builders(), n=3)
    return (
        f"Unknown data set. Received: {name!r}. "
        + (f"Did you mean {' or '.join(map(repr, close))}? " if close else "")
        + "Expected 'digits', 'digit_scenes' or a name in the TFDS catalog "
        "(https://www.tensorflow.org/datasets/catalog), or the path of a folder of "
        "images that exists."
    )


def _prepare(builder, name, data_dir):
    try:
        builder.download_and_prepare()
    # TFDS asserts that manually downloaded files are there.
    except (OSError, AssertionError) as error:
        if not builder.is_prepared():
            raise ValueError(
                f"TFDS could not prepare the data set {name!r} in "
                f"{builder.data_dir_root}: {error}"
            ) from error
        # Another process was faster, so moving the result failed.
        builder = _find_builder(name, data_dir)
    return builder


def _not_prepared(builder, name):
    message = (
        f"The data set {name!r} is not prepared in data_dir="
        f"{str(builder.data_dir_root)!r}, and downloads are not allowed by default. "
        "Pass the folder that has it (--data_dir), or download it with TFDS: "
        f"`tfds build {name} --data_dir={builder.data_dir_root}`, or --download "
        "(download=True in Python)."
    )
    if builder.MANUAL_DOWNLOAD_INSTRUCTIONS:
        message += (
            " First download its files manually into "
            f"{builder.data_dir_root}/downloads/manual: "
            + " ".join(builder.MANUAL_DOWNLOAD_INSTRUCTIONS.split())
        )
    return message
