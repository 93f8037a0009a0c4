"""Folders of images, as users have them."""

import json

import numpy as np
import sklearn.datasets
from PIL import Image

from keras_diffkd.datasets.digits import source_digits
from keras_diffkd.datasets.preparation import prepared_builder


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


def write_scenes(folder, task, data_dir):
    """Writes the data set `digit_scenes/small` with COCO's JSON, or with masks.

    Args:
        folder: `Path`.
        task: "detection" or "segmentation".
        data_dir: Where the data set is prepared.

    Returns:
        The folder.
    """
    builder = prepared_builder("digit_scenes/small", data_dir)
    write = {"detection": _write_boxes, "segmentation": _write_masks}[task]
    for split in ("train", "test"):
        write(folder / split, list(builder.as_dataset(split=split).as_numpy_iterator()))
    return folder


def _write_boxes(folder, scenes):
    folder.mkdir(parents=True)
    images, objects = [], []
    for number, scene in enumerate(scenes):
        Image.fromarray(scene["image"]).save(folder / f"{number}.png")
        height, width, _ = scene["image"].shape
        images.append({"id": number, "file_name": f"{number}.png"})
        boxes = scene["objects"]["bbox"] * [height, width, height, width]
        labels = scene["objects"]["label"]
        for (top, left, bottom, right), label in zip(boxes, labels, strict=True):
            box = [left, top, right - left, bottom - top]
            objects.append(
                {
                    "image_id": number,
                    "category_id": int(label) + 1,
                    "bbox": [float(side) for side in box],
                }
            )
    categories = [{"id": digit + 1, "name": str(digit)} for digit in range(10)]
    content = {"images": images, "annotations": objects, "categories": categories}
    (folder / "_annotations.coco.json").write_text(json.dumps(content))


def _write_masks(folder, scenes):
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for number, scene in enumerate(scenes):
        Image.fromarray(scene["image"]).save(folder / "images" / f"{number}.png")
        mask = scene["segmentation_mask"][..., 0]
        Image.fromarray(mask).save(folder / "masks" / f"{number}.png")


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
