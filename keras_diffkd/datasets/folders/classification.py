"""Opens a user's folder, or table, of images with classes."""

import os
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds

from keras_diffkd.datasets.folders.classes import find_classified
from keras_diffkd.datasets.folders.paths import existing_folder, image_files
from keras_diffkd.datasets.folders.scan import Example
from keras_diffkd.datasets.folders.user_data import Layout, open_layout

UNLABELED = "unlabeled"
_NO_LABEL = -1


def open_classification(path, unlabeled, **options):
    """Opens the data set of a folder of classes, or of a CSV file.

    Args:
        path: See `find_classified`.
        unlabeled: Folder of images without labels, or `None`. They become the split
            "unlabeled".
        **options: Further arguments of `open_layout`.

    Returns:
        `UserData`, whose examples have an image and a label.

    Raises:
        ValueError: If the files cannot be used. The message names them.
    """
    examples, label_names = find_classified(path)
    root = Path(os.path.expanduser(path)).absolute()
    if unlabeled is not None:
        examples = examples + _without_labels(unlabeled)

    def features(shape):
        return {
            "image": tfds.features.Image(shape=shape, dtype=np.uint8),
            "label": tfds.features.ClassLabel(names=label_names),
        }

    layout = Layout(
        kind="image_classes",
        path=os.fspath(path),
        root=root if root.is_dir() else root.parent,
        examples=examples,
        label_names=label_names,
        features=features,
        target=lambda example: {"label": example.target},
        stratum=lambda example: example.target,
        strata={
            label: f"of the class {name!r}" for label, name in enumerate(label_names)
        },
    )
    return open_layout(layout, **options)


def _without_labels(path):
    folder = existing_folder(path)
    images = image_files(folder)
    if not images:
        raise ValueError(
            f"The folder of images without labels, {path}, has no images. Check the "
            "path."
        )
    return [Example(image, UNLABELED, _NO_LABEL) for image in images]
