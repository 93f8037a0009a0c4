"""Opens a user's folder, or table, of images with classes."""

import os
from pathlib import Path

import tensorflow_datasets as tfds

from keras_diffkd.datasets.folders.classes import find_classified
from keras_diffkd.datasets.folders.layout import Layout
from keras_diffkd.datasets.folders.paths import existing_folder, image_files
from keras_diffkd.datasets.folders.scan import Example
from keras_diffkd.datasets.folders.user_data import open_layout

UNLABELED = "unlabeled"
_NO_LABEL = -1
# The number of channels. `None` stands for that of the images.
COLOR_MODES = {"rgb": 3, "grayscale": 1, None: None}


class ClassFolders(Layout):
    """Describes images with a class each.

    Args:
        label_names: List of strings.
        color_mode: Key of `COLOR_MODES`.
        **files: Arguments of `Layout`.
    """

    kind = "image_classes"

    def __init__(self, label_names, color_mode, **files):
        super().__init__(**files)
        self.channels = COLOR_MODES[color_mode]
        self._label_names = label_names

    def settle(self, examples):
        return {"label_names": self._label_names, "notes": []}

    def features(self, settled):
        return {"label": tfds.features.ClassLabel(names=settled["label_names"])}

    def target(self, example, settled):
        return {"label": example.target}

    def stratum(self, example):
        return example.target

    def strata(self):
        return {
            label: f"of the class {name!r}"
            for label, name in enumerate(self._label_names)
        }


def open_classification(path, unlabeled, color_mode, **options):
    """Opens the data set of a folder of classes, or of a CSV file.

    Args:
        path: See `find_classified`.
        unlabeled: Folder of images without labels, or `None`. They become the split
            "unlabeled".
        color_mode: "rgb", "grayscale", or `None` for that of the images.
        **options: Further arguments of `open_layout`.

    Returns:
        `UserData`, whose examples have an image and a label.

    Raises:
        ValueError: If the files cannot be used. The message names them.
    """
    if color_mode not in COLOR_MODES:
        raise ValueError(
            "`color_mode` must be 'rgb', 'grayscale' or None. Received: "
            f"{color_mode!r}."
        )
    examples, label_names = find_classified(path)
    root = Path(os.path.expanduser(path)).absolute()
    if unlabeled is not None:
        examples = examples + _without_labels(unlabeled)
    layout = ClassFolders(
        label_names,
        color_mode,
        path=path,
        root=root if root.is_dir() else root.parent,
        examples=examples,
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
