"""Opens the data set that a user names: files of the user, or one of TFDS."""

import warnings

from keras_diffkd.datasets.folders.paths import is_path
from keras_diffkd.datasets.preparation import prepared_builder
from keras_diffkd.errors import DataWarning


def open_builder(
    name, open_files, data_dir, download, test_split=None, stacklevel=3, **options
):
    """Returns the builder of a data set whose data is prepared, and the test split.

    Args:
        name: Path of the user's files, or the name of a TFDS data set.
        open_files: Callable that opens such files, and returns `UserData`.
        data_dir: Folder of prepared data sets. `None` stands for that of TFDS.
        download: Boolean, whether TFDS may download the data set.
        test_split: Split to test on, or `None`. For a user's files without splits, it
            may be a share of them.
        stacklevel: Integer, that of warnings of the user's files.
        **options: Further arguments of `open_files`.

    Returns:
        `(builder, test_split)`. The split is `None` if nothing tells it.

    Raises:
        ValueError: If the data set is unknown or not prepared, or if the user's files
            cannot be used.
    """
    if not is_path(name):
        return prepared_builder(name, data_dir, download), test_split
    data = open_files(name, data_dir=data_dir, test_split=test_split, **options)
    for problem in data.problems:
        warnings.warn(problem, DataWarning, stacklevel=stacklevel)
    return data.builder, data.test_split
