"""Opens a user's folder of images with masks."""

import hashlib
import io
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from keras_diffkd.datasets.folders.image_file import BadImageError
from keras_diffkd.datasets.folders.layout import Layout
from keras_diffkd.datasets.folders.paths import (
    existing_folder,
    image_files,
    split_folders,
    subfolders,
)
from keras_diffkd.datasets.folders.scan import Example, shown
from keras_diffkd.datasets.folders.user_data import open_layout

_MASKS = ("masks", "labels", "annotations")
_NAMES = "classes.txt"
_IGNORED = 255
_MOST_CLASSES = 255


class MaskFolders(Layout):
    """Describes images with a mask each, whose pixels are class numbers.

    Args:
        label_names: List of strings, or `None` for numbers up to the largest pixel.
        **files: Arguments of `Layout`.
    """

    kind = "image_masks"

    def __init__(self, label_names, **files):
        super().__init__(**files)
        self._label_names = label_names

    def examine_target(self, example):
        """Returns the mask's hash and its values.

        Args:
            example: `Example` whose target is the `Path` of a mask.
        """
        mask = _read(example.target)
        image = example.file.height, example.file.width
        if mask.shape != image:
            raise BadImageError(
                f"its mask {example.target} is {mask.shape[0]}x{mask.shape[1]}, but "
                f"the image is {image[0]}x{image[1]}"
            )
        digest = hashlib.sha256(example.target.read_bytes()).hexdigest()
        return [digest, np.unique(mask).tolist()]

    def settle(self, examples):
        values = sorted({value for example in examples for value in example.found[1]})
        binary = values == [0, _IGNORED] and len(self._label_names or "ab") == 2
        if binary:
            names = self._label_names or ["background", "foreground"]
            notes = ["Masks have the pixels 0 and 255 alone: 255 is taken as class 1."]
            return {"label_names": names, "binary": True, "notes": notes}
        classes = [value for value in values if value != _IGNORED]
        names = self._label_names or _numbers(self.path, classes)
        if classes and classes[-1] >= len(names):
            wrong = next(e for e in examples if classes[-1] in e.found[1])
            raise ValueError(
                f"The mask {wrong.target} has pixels of {classes[-1]}, but {_NAMES} "
                f"names {len(names)} classes, from 0 on. Add the classes there, or "
                f"set pixels that do not count to {_IGNORED}."
            )
        return {"label_names": names, "binary": False, "notes": []}

    def features(self, settled):
        names = settled["label_names"]
        mask = tfds.features.LabeledImage(
            labels=names, shape=(None, None, 1), encoding_format="png"
        )
        return {"segmentation_mask": mask}

    def target(self, example, settled):
        mask = _read(example.target)
        if settled["binary"]:
            mask = (mask > 0).astype("uint8")
        written = io.BytesIO()
        Image.fromarray(mask).save(written, "PNG")
        return {"segmentation_mask": written.getvalue()}

    def identity(self, example):
        return example.found[0]


def open_masks(path, **options):
    """Opens the data set of a folder with `images` and `masks`.

    Splits may be folders around both, or inside each. Images and masks have the same
    names without their ends. `classes.txt` may name the classes, one in each line.

    Args:
        path: Path of the folder.
        **options: Further arguments of `open_layout`.

    Returns:
        `UserData`, whose examples have an image and a "segmentation_mask".

    Raises:
        ValueError: If the files cannot be used. The message names them.
    """
    folder = existing_folder(path)
    examples, notes = _find_pairs(folder)
    label_names, files = None, []
    names_file = folder / _NAMES
    if names_file.exists():
        label_names, files = read_names(names_file), [names_file]
    layout = MaskFolders(
        label_names,
        path=path,
        root=folder,
        examples=examples,
        files=[*files, *(example.target for example in examples)],
        notes=notes,
    )
    return open_layout(layout, **options)


def read_names(path):
    """Returns the names of classes in a text file, one in each line.

    Raises:
        ValueError: If it cannot be read, or has too few or repeated names.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path} cannot be read as text in UTF-8: {error}. Write the name of a "
            "class into each line."
        ) from error
    names = [line.strip() for line in lines if line.strip()]
    if not 2 <= len(set(names)) == len(names) <= _MOST_CLASSES:
        raise ValueError(
            f"{path} must have the names of 2 to {_MOST_CLASSES} classes, each in a "
            f"line. Received: {len(names)} names, {len(set(names))} different ones."
        )
    return names


def _find_pairs(folder):
    """Returns the examples in a folder, and notes."""
    around = split_folders(folder)
    if around:
        pairs = {split: _pair_of_folders(each) for split, each in around.items()}
    else:
        images, masks = _pair_of_folders(folder)
        inside, beside = split_folders(images), split_folders(masks)
        if inside.keys() != beside.keys():
            raise ValueError(
                f"{images} and {masks} must have the same splits. Received: "
                f"{list(inside) or 'none'} and {list(beside) or 'none'}."
            )
        pairs = {split: (inside[split], beside[split]) for split in inside}
        pairs = pairs or {"train": (images, masks)}
    examples, notes = [], []
    for split, (images, masks) in pairs.items():
        found, alone = _match(images, masks)
        examples += [Example(image, split, mask) for image, mask in found]
        if alone:
            notes.append(f"{len(alone)} masks have no image: {shown(alone)}.")
    return examples, notes


def _pair_of_folders(folder):
    """Returns the folders of images and of masks in a folder."""
    found = {inside.name.lower(): inside for inside in subfolders(folder)}
    masks = [found[name] for name in _MASKS if name in found]
    if "images" not in found or len(masks) != 1:
        raise ValueError(
            f"{folder} must have the folders 'images' and 'masks', or train, val and "
            f"test with both. Received: {sorted(found) or 'no folders'}. Rename or "
            "move them."
        )
    return found["images"], masks[0]


def _match(images, masks):
    """Returns `[(image, mask)]`, and the masks without an image."""
    by_name = {}
    for mask in image_files(masks):
        other = by_name.setdefault(_name(mask, masks), mask)
        if other is not mask:
            raise ValueError(f"{other} and {mask} are masks of one image. Remove one.")
    pairs, missing, seen = [], [], {}
    for image in image_files(images):
        name = _name(image, images)
        if name in seen:
            raise ValueError(
                f"{seen[name]} and {image} have the same mask. Rename or remove one."
            )
        seen[name] = image
        if name in by_name:
            pairs.append((image, by_name[name]))
        else:
            missing.append(image)
    if missing:
        raise ValueError(
            f"{len(missing)} images in {images} have no mask of the same name in "
            f"{masks}: {shown(missing)}. Add the masks, or move the images away."
        )
    if not pairs:
        raise ValueError(f"{images} has no images. Check the folder.")
    return pairs, [by_name[name] for name in sorted(by_name.keys() - seen.keys())]


def _name(path, folder):
    return Path(path).relative_to(folder).with_suffix("").as_posix()


def _read(path):
    """Returns the uint8 class numbers `(height, width)` in a mask.

    Raises:
        BadImageError: If the file is not such a mask.
    """
    try:
        with Image.open(path) as image:
            kind, mode = image.format, image.mode
            pixels = np.asarray(image)
    # Pillow raises whatever it stumbles over in a damaged file.
    except Exception as error:
        raise BadImageError(f"its mask {path} is damaged: {error}") from error
    if kind in ("JPEG", "WEBP"):
        raise BadImageError(f"its mask {path} is a {kind}, which changes class numbers")
    if mode == "1":
        return pixels.astype("uint8")
    if pixels.ndim != 2 or pixels.min() < 0 or pixels.max() > 255:
        raise BadImageError(
            f"its mask {path} must have class numbers from 0 to 255, gray or in a "
            f"palette, but has the mode {mode}"
        )
    return pixels.astype("uint8")


def _numbers(path, classes):
    """Returns the class numbers up to the largest as names.

    Raises:
        ValueError: If most of them do not occur, so that the pixels mean something
            else.
    """
    count = classes[-1] + 1 if classes else 0
    if count < 2 or count > 2 * len(classes):
        raise ValueError(
            f"The masks in {path} must have class numbers from 0 on. Received pixels: "
            f"{classes[:10]}. Number the classes 0, 1, ..., or name all of them in "
            f"{_NAMES}, one in each line; {_IGNORED} stands for pixels that do not "
            "count."
        )
    return [str(number) for number in range(count)]
