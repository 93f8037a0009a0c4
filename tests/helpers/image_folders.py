"""Folders of images, as users have them."""

import numpy as np
import sklearn.datasets
from PIL import Image

from keras_diffkd.datasets.digits import source_digits


def write_digits_of_tfds(folder):
    """Writes the data set `digits` as PNGs, in the folders train and test.

    Args:
        folder: `Path`.

    Returns:
        The folder.
    """
    for split in ("train", "test"):
        for index, pixels, label in source_digits(test=split == "test"):
            path = folder / split / str(label) / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    return folder


def write_digits(folder, per_class=8, classes=10):
    """Writes digits as PNGs, a subfolder for each class.

    Args:
        folder: `Path`.
        per_class: Integer, the number of images of each class.
        classes: Integer.

    Returns:
        The folder.
    """
    digits = sklearn.datasets.load_digits()
    for label in range(classes):
        (folder / str(label)).mkdir(parents=True, exist_ok=True)
        for index in np.flatnonzero(digits.target == label)[:per_class]:
            pixels = np.rint(digits.images[index] * (255 / 16)).astype("uint8")
            Image.fromarray(pixels).save(folder / str(label) / f"{index}.png")
    return folder


def colors(height, width, seed=0):
    """Returns the uint8 pixels of a smooth image with colors."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, (4, 4, 3)).astype("uint8")
    image = Image.fromarray(coarse).resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(image)
