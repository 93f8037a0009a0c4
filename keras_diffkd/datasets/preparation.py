"""Finding a TFDS data set, without touching the network unless asked to."""

import difflib
import os
import re

import tensorflow_datasets as tfds

from keras_diffkd.datasets.digit_scenes import DigitScenes
from keras_diffkd.datasets.digits import Digits
from keras_diffkd.silent_prints import silent_prints

# name[/config][:version]. TFDS looks names with a namespace up in the network.
_NAME = r"\w+(/[^:]+)?(:[\d.*]+)?"


def prepared_builder(name, data_dir=None, download=False):
    """Returns the TFDS builder of a data set that is ready to be read.

    `digits` and `digit_scenes` are prepared when they are not there yet: they need
    no download. TFDS prepares aside and moves the result into place, so that
    processes that do so at the same time do not disturb each other.

    Args:
        name: Name of a TFDS data set, optionally with config and version, for
            example "cifar100" or "imagenet2012_subset/10pct".
        data_dir: Folder of prepared data sets. Defaults to that of TFDS.
        download: Whether TFDS may download and prepare the data set.

    Raises:
        ValueError: If TFDS does not know the data set, if it is not prepared in
            `data_dir`, or if it could not be downloaded or prepared.

    Example:

    >>> prepared_builder("digits", data_dir="/tmp/data").info.splits["test"]
    <SplitInfo num_examples=445, num_shards=1>
    """
    builder = _find_builder(name, data_dir)
    if isinstance(builder, Digits | DigitScenes):
        # A matter of seconds, not worth the progress bars.
        with silent_prints():
            builder = _prepare(builder, name, data_dir)
    elif download:
        builder = _prepare(builder, name, data_dir)
    try:
        builder.as_dataset(split=[])  # TFDS asserts that the data is there.
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
    # What TFDS raises for a config or a version that does not exist.
    except (ValueError, AssertionError) as error:
        raise ValueError(f"TFDS cannot load {name!r}: {error}") from error


def _unknown(name):
    base_name = re.split("[:/]", name)[0]
    close = difflib.get_close_matches(base_name, tfds.list_builders(), n=3)
    return (
        f"Unknown data set. Received: {name!r}. "
        + (f"Did you mean {' or '.join(map(repr, close))}? " if close else "")
        + "Expected 'digits', 'digit_scenes' or a name of the TFDS catalogue "
        "(https://www.tensorflow.org/datasets/catalog)."
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
        # Another process was faster, and moving the result into place failed.
        builder = _find_builder(name, data_dir)
    return builder


def _not_prepared(builder, name):
    message = (
        f"The data set {name!r} is not prepared in data_dir="
        f"{str(builder.data_dir_root)!r}, and nothing is downloaded without being "
        "asked for. Name the folder that has it (--data_dir), or let TFDS get it: "
        f"`tfds build {name} --data_dir={builder.data_dir_root}`, or the same with "
        "--download (download=True in Python)."
    )
    if builder.MANUAL_DOWNLOAD_INSTRUCTIONS:
        message += (
            " Its files must first be downloaded by hand into "
            f"{builder.data_dir_root}/downloads/manual: "
            + " ".join(builder.MANUAL_DOWNLOAD_INSTRUCTIONS.split())
        )
    return message
