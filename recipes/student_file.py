"""Finds what an export needs to know of a student's file that no run has trained."""

from . import flags, tasks
from .data import load_data
from .pixels import describe, read_normalization, renormalized
from .run.model_files import load_checked_model


def load_student_file(path):
    """Loads a student, and the images of `--dataset` as the student takes them.

    Images get the size that the student takes, unless `--image_size` is set.

    Args:
        path: str, a `.keras` file.

    Returns:
        `(student, data, normalization)`: `keras.Model`; the data set, or None without
        `--dataset`; and the dict for `export_student`, or None if it is unknown.

    Raises:
        ValueError: if the student does not fit the data.
    """
    normalization = read_normalization()
    student = load_checked_model(path)
    if not flags.DATASET.value:
        return student, None, normalization
    sides = getattr(student, "input_shape", (None,) * 4)[1:3]
    if flags.IMAGE_SIZE.value is None and None not in sides:
        flags.FLAGS["image_size"].value = "x".join(map(str, dict.fromkeys(sides)))
    data = renormalized(load_data(), normalization)
    student = load_checked_model(
        path, input_shape=data.image_shape, num_classes=data.num_classes
    )
    tasks.current().check_model(student, path)
    if normalization is None:
        print(
            "Expecting a student of images that are normalized as the commands do it: "
            f"{describe(data.normalization)}. Pass --normalization if it is another"
        )
    return student, data, data.normalization
