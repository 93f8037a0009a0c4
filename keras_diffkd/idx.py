"""Reads folders of IDX files, such as MNIST, Fashion-MNIST, EMNIST and KMNIST.

This module needs only NumPy, so that it works where TensorFlow is not installed.
`datasets` turns such a folder into a data set for training.
"""

import gzip
import hashlib
import math
import os
import re
import zlib
from pathlib import Path

import numpy as np

# The type code of unsigned bytes, the only type that is read.
_UNSIGNED_BYTES = 0x08
_FILE = re.compile(
    r"(?P<set>.+-)?(?P<split>train|t10k|test)-"
    r"(?P<kind>images[-.]idx3|labels[-.]idx1)-ubyte(\.gz)?"
)
_EXPECTED = (
    "Expected four files: train-images-idx3-ubyte, train-labels-idx1-ubyte, "
    "t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte, each with or without .gz"
)


def read_idx(path):
    """Reads one IDX file of unsigned bytes.

    Args:
        path: Path of the file. It is decompressed if its name ends in `.gz`.

    Returns:
        uint8 array. The file's header gives its shape.

    Raises:
        ValueError: If the file cannot be read, or is not a complete IDX file of
            unsigned bytes. The message names it.

    Example:

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "labels-idx1-ubyte"
    >>> _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 2, 9]))
    >>> read_idx(path).tolist()
    [7, 2, 9]

    Source: the description of the format on the MNIST page (LeCun, Cortes and Burges).
    """
    path = Path(path)
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(
            f"The IDX file {path} cannot be read: {error}. Check the path and the "
            "permissions, or download the file again"
        ) from error
    rank = content[3] if len(content) > 3 else 0
    if content[:3] != bytes([0, 0, _UNSIGNED_BYTES]) or not rank:
        raise ValueError(
            f"{path} is not an IDX file of unsigned bytes: it must begin with the "
            "bytes 00 00 08 and the number of dimensions. Received: "
            f"{content[:4].hex(' ') or 'an empty file'}. Download the file again"
        )
    start = 4 + 4 * rank
    shape = tuple(np.frombuffer(content[4:start], ">u4", min(rank, _words(content))))
    if len(shape) < rank or len(content) - start != math.prod(map(int, shape)):
        raise ValueError(
            f"{path} is damaged or incomplete: its header announces "
            f"{' x '.join(map(str, shape)) or 'a shape'} bytes, but "
            f"{max(0, len(content) - start)} follow. Download the file again"
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _words(content):
    """Returns the number of whole 4-byte words after the first 4 bytes."""
    return max(0, len(content) - 4) // 4


def is_idx_folder(folder):
    """Returns whether a folder has at least one file named like an IDX file."""
    if not isinstance(folder, (str, os.PathLike)):
        return False
    return bool(Path(folder).is_dir() and _files(folder))


def read_idx_folder(folder):
    """Reads the images and labels of the training and the test split.

    Args:
        folder: Path of a folder with the four files of MNIST's format, with or
            without `.gz`.

    Returns:
        `{"train": (images, labels), "test": (images, labels)}`: uint8
        `(examples, height, width)` and int64 `(examples,)`.

    Raises:
        ValueError: If a file is missing, present twice, or damaged; if a split is
            empty or its numbers of images and labels differ; or if the two splits
            have images of different sizes. The message names the files.
    """
    files = idx_files(folder)
    splits = {}
    for split in ("train", "test"):
        images, labels = (files[split, kind] for kind in ("images", "labels"))
        splits[split] = (read_idx(images), read_idx(labels).astype("int64"))
        shapes = [array.shape for array in splits[split]]
        if len(shapes[0]) != 3 or len(shapes[1]) != 1 or 0 in shapes[0]:
            raise ValueError(
                f"{images} must hold images (examples, height, width), and {labels} "
                f"labels (examples,), at least one. Received: shapes {shapes[0]} and "
                f"{shapes[1]}. Check that the files are not swapped"
            )
        if shapes[0][0] != shapes[1][0]:
            raise ValueError(
                f"{images} has {shapes[0][0]} images and {labels} has {shapes[1][0]} "
                "labels: they do not belong together. Download both again"
            )
    sizes = {split: images.shape[1:] for split, (images, _) in splits.items()}
    if sizes["train"] != sizes["test"]:
        raise ValueError(
            f"All images in {folder} must have the same size. Received: "
            f"{sizes['train']} in {files['train', 'images']} and {sizes['test']} in "
            f"{files['test', 'images']}. Take both splits from the same data set"
        )
    return splits


def idx_files(folder):
    """Returns the paths of a folder's files by `(split, kind)`.

    Args:
        folder: As for `read_idx_folder`.

    Raises:
        ValueError: If a file is missing or present twice.
    """
    found = _files(folder)
    for split in ("train", "test"):
        for kind in ("images", "labels"):
            paths = found.get((split, kind), [])
            if len(paths) != 1:
                names = [path.name for path in paths] or "none"
                raise ValueError(
                    f"The folder {folder} must have one IDX file with the {kind} of "
                    f"the {split} split. Received: {names}. {_EXPECTED}"
                )
    return {key: paths[0] for key, paths in found.items()}


def _files(folder):
    """Returns lists of paths by `(split, kind)`."""
    found = {}
    for path in sorted(Path(folder).iterdir()):
        if match := _FILE.fullmatch(path.name):
            split = "train" if match["split"] == "train" else "test"
            found.setdefault((split, match["kind"][:6]), []).append(path)
    return found


def idx_fingerprint(folder):
    """Returns the SHA-256 of the folder's four files, as a hexadecimal string."""
    digest = hashlib.sha256()
    for _, path in sorted(idx_files(folder).items()):
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def balanced_subset(labels, per_class, seed):
    """Draws the same number of examples of each class.

    Args:
        labels: Integer array `(examples,)`.
        per_class: Integer, the number of examples of each class that occurs.
        seed: Non-negative integer. The same seed draws the same examples.

    Returns:
        int64 array of the indices of the examples, ascending.

    Raises:
        ValueError: If a class has too few examples. The message names it.

    Example:

    >>> balanced_subset([0, 1, 0, 1, 1, 0], per_class=3, seed=0).tolist()
    [0, 1, 2, 3, 4, 5]
    """
    labels = np.asarray(labels)
    classes, counts = np.unique(labels, return_counts=True)
    if counts.size and counts.min() < per_class:
        scarce = int(np.argmin(counts))
        raise ValueError(
            f"There must be at least {per_class} examples of each class. Received: "
            f"{counts[scarce]} of class {classes[scarce]}. Ask for fewer per class"
        )
    generator = np.random.default_rng(seed)
    drawn = [
        generator.choice(np.flatnonzero(labels == label), per_class, replace=False)
        for label in classes
    ]
    return np.sort(np.concatenate(drawn)) if drawn else np.zeros(0, "int64")
