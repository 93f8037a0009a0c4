"""Finds the images in a folder, and the folders of its splits."""

import os
from pathlib import Path

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
# The usual names of the splits, and the names that TFDS gives them.
SPLITS = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}
# Data sets of this package, which win over a folder of the same name.
_OWN = ("digits", "digit_scenes")
# Files in the folders of prepared data sets and of runs, which often have the name of
# the data set.
_OTHERS = (
    *(f"{inside}dataset_info.json" for inside in ("", "*/", "*/*/")),
    *("flags.txt", "*/flags.txt", "*.keras"),
)


def is_path(name):
    """Returns whether the name of a data set is that of a file or folder.

    A folder that exists is one, unless TFDS has prepared it or it is that of a run. A
    text that can only be a path is one, too, so that an error can say that it does not
    exist.

    Args:
        name: What the user gave, usually a string.

    Example:

    >>> is_path("cifar100"), is_path("./photos"), is_path("labels.csv")
    (False, True, True)
    """
    if isinstance(name, os.PathLike):
        return True
    if not isinstance(name, str) or not name or name in _OWN:
        return False
    if name.startswith(("/", "./", "../", "~")) or name.endswith((".csv", ".json")):
        return True
    folder = Path(name)
    return folder.is_dir() and not any(any(folder.glob(name)) for name in _OTHERS)


def existing_folder(path):
    """Returns a folder as an absolute `Path`.

    Raises:
        ValueError: If it does not exist, cannot be read, or is a file.
    """
    folder = Path(os.path.expanduser(path)).absolute()
    if not folder.is_dir():
        kind = "is a file" if folder.exists() else "does not exist"
        raise ValueError(f"{path} must be a folder, but it {kind}. Check the path.")
    return folder


def subfolders(folder):
    """Returns the visible folders in a folder, in alphabetical order.

    Raises:
        ValueError: If the folder cannot be read.
    """
    return [Path(entry.path) for entry in _entries(folder) if entry.is_dir()]


def image_files(folder, recursive=True):
    """Returns the image files in a folder, by the ends of their names.

    Hidden files and folders are left out, such as those that macOS puts into archives.

    Args:
        folder: `Path`.
        recursive: Boolean, whether to look into the folders in the folder.

    Returns:
        Sorted list of `Path`.

    Raises:
        ValueError: If a folder cannot be read, or contains itself through a link.
    """
    found, waiting, seen = [], [folder], set()
    while waiting:
        current = waiting.pop()
        real = os.path.realpath(current)
        if real in seen:
            raise ValueError(
                f"{current} is a link to a folder that was read already, {real}. "
                "Remove the link."
            )
        seen.add(real)
        for entry in _entries(current):
            if entry.is_dir():
                waiting += [Path(entry.path)] if recursive else []
            elif Path(entry.name).suffix.lower() in SUFFIXES:
                found.append(Path(entry.path))
    return sorted(found)


def split_folders(folder):
    """Returns the folders of splits in a folder, by the names that TFDS gives splits.

    Args:
        folder: `Path`.

    Returns:
        Dict from "train", "validation" and "test" to `Path`, "train" first. It is empty
        if the folder does not have the folder of a split.

    Raises:
        ValueError: If two folders stand for one split, or if there are splits but not
            "train".
    """
    found = {}
    for inside in subfolders(folder):
        split = SPLITS.get(inside.name.lower())
        if split in found:
            raise ValueError(
                f"{found[split]} and {inside} both stand for the split {split!r}. "
                "Rename or remove one of them."
            )
        if split:
            found[split] = inside
    if found and "train" not in found:
        names = [inside.name for inside in found.values()]
        raise ValueError(
            f"{folder} has the splits {names}, but not 'train'. Add the folder "
            f"{folder / 'train'}."
        )
    return {
        split: found[split]
        for split in dict.fromkeys(SPLITS.values())
        if split in found
    }


def _entries(folder):
    """Returns the visible entries of a folder, sorted by name."""
    try:
        entries = list(os.scandir(folder))
    except OSError as error:
        raise ValueError(
            f"{folder} cannot be read: {error.strerror}. Check the permissions."
        ) from error
    visible = [e for e in entries if not e.name.startswith((".", "__MACOSX"))]
    return sorted(visible, key=lambda entry: entry.name)
