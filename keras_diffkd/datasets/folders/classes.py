"""Finds the examples and classes of a folder of classes, or of a table."""

import csv
import os
from pathlib import Path

from keras_diffkd.datasets.folders.paths import (
    SPLITS,
    existing_folder,
    image_files,
    split_folders,
    subfolders,
)
from keras_diffkd.datasets.folders.scan import Example, shown


def find_classified(path):
    """Returns the examples and the names of the classes of a user's data set.

    Args:
        path: Folder with a subfolder for each class, with or without the folders of
            splits around them, or a CSV file (see `read_table`).

    Returns:
        `(examples, label_names)`: list of `Example`, whose target is the number of the
        class, and list of strings in alphabetical order.

    Raises:
        ValueError: If the files are not arranged like this. The message names the path.
    """
    if str(path).endswith(".csv"):
        return read_table(path)
    folder = existing_folder(path)
    splits = split_folders(folder)
    label_names, examples = [], []
    for split, inside in (splits or {"train": folder}).items():
        classes = {inside.name: inside for inside in subfolders(inside)}
        if split == "train":
            label_names = _check_classes(folder, inside, classes)
        unknown = sorted(set(classes) - set(label_names))
        if unknown:
            raise ValueError(
                f"{inside} has the classes {shown(unknown)}, which {splits['train']} "
                f"does not have. Received there: {shown(label_names)}. Give the "
                "folders the same names."
            )
        for name, files in classes.items():
            images = image_files(files)
            if not images and split == "train":
                raise ValueError(
                    f"The class folder {files} has no images. Add some, or remove it."
                )
            label = label_names.index(name)
            examples += [Example(image, split, label) for image in images]
    return examples, label_names


def _check_classes(folder, inside, classes):
    """Returns the names of the classes of the training images."""
    if len(classes) < 2:
        loose = len(image_files(inside, recursive=False))
        raise ValueError(
            f"{inside} must have a subfolder of images for each of at least two "
            f"classes. Received: {sorted(classes) or 'no subfolders'} and {loose} "
            "images beside them. Sort the images into subfolders, or list them in a "
            "CSV file with the columns image and label."
        )
    return sorted(classes)


def read_table(path):
    """Returns the examples and classes that a CSV file lists.

    Its columns are `image`, a path relative to the file; `label`, the name of the
    class; and optionally `split`. Further columns do not count.

    Args:
        path: Path of the file.

    Returns:
        As `find_classified`.

    Raises:
        ValueError: If the file cannot be read or lacks a column, if a value is missing,
            or if an image does not exist. The message names file and line.
    """
    table = Path(os.path.expanduser(path)).absolute()
    rows = []
    try:
        with open(table, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            names = [(name or "").strip().lower() for name in reader.fieldnames or []]
            reader.fieldnames = names
            _check_columns(table, names)
            rows += [(reader.line_num, row) for row in reader]
    except OSError as error:
        raise ValueError(
            f"{table} cannot be read: {error.strerror}. Check the path."
        ) from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(
            f"{table} is not a CSV file in UTF-8: {error}. Save it as one."
        ) from error
    read = [_row(table, line, row) for line, row in rows]
    label_names = sorted({label for _, _, label in read})
    if len(label_names) < 2:
        raise ValueError(
            f"{table} must have labels of at least two classes. Received: "
            f"{label_names or 'no rows'}."
        )
    if not any(split == "train" for _, split, _ in read):
        raise ValueError(
            f"{table} has no row of the split 'train'. Give some rows that split, or "
            "remove the column."
        )
    return [
        Example(image, split, label_names.index(label)) for image, split, label in read
    ], label_names


def _check_columns(table, names):
    if names.count("image") != 1 or names.count("label") != 1:
        raise ValueError(
            f"{table} must have the columns 'image' and 'label', separated by commas, "
            f"and may have 'split'. Received: {names or 'an empty file'}. Correct its "
            "first line."
        )


def _row(table, line, row):
    """Returns `(image, split, label)` of a line."""
    values = {key: (row.get(key) or "").strip() for key in ("image", "label")}
    for key, value in values.items():
        if not value:
            raise ValueError(f"Line {line} of {table} has no {key}. Add it.")
    image = table.parent / values["image"]
    if not image.is_file():
        raise ValueError(
            f"Line {line} of {table} names an image that does not exist: {image}. "
            "Paths are relative to the CSV file."
        )
    given = "train" if "split" not in row else (row["split"] or "").strip().lower()
    if given not in SPLITS:
        raise ValueError(
            f"Line {line} of {table} must have 'train', 'validation' or 'test' as the "
            f"split. Received: {given!r}."
        )
    return image, SPLITS[given], values["label"]
