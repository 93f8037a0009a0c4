"""Opens a user's folder of images with boxes."""

import collections
import os
import re
from pathlib import Path

import tensorflow_datasets as tfds

from keras_diffkd.datasets.folders.coco_file import read_coco
from keras_diffkd.datasets.folders.image_file import BadImageError
from keras_diffkd.datasets.folders.layout import Layout
from keras_diffkd.datasets.folders.paths import (
    SPLITS,
    existing_folder,
    split_folders,
    subfolders,
)
from keras_diffkd.datasets.folders.scan import Example, shown
from keras_diffkd.datasets.folders.user_data import open_layout

# As in "instances_train2017.json".
_SPLIT = re.compile(r"(?<![a-z])(train|val|valid|validation|test)(?![a-z])", re.I)


class Boxes(Layout):
    """Describes images with the boxes and classes of objects.

    Args:
        categories: Dict from the id of a category to its name.
        **files: Arguments of `Layout`.
    """

    kind = "image_boxes"

    def __init__(self, categories, **files):
        super().__init__(**files)
        self._labels = {number: i for i, number in enumerate(sorted(categories))}
        self._names = [categories[number] for number in sorted(categories)]

    def examine_target(self, example):
        """Returns the objects in relative coordinates, and what was done to boxes.

        Args:
            example: `Example` whose target is a `CocoImage`.
        """
        size, objects = example.target
        height, width = example.file.height, example.file.width
        if size is not None and tuple(size) != (height, width):
            raise BadImageError(
                f"the JSON file says {size[0]}x{size[1]}, but it is {height}x{width} "
                "as a viewer shows it"
            )
        found, changed = [], collections.Counter()
        for left, top, box_width, box_height, category in objects:
            whole = top, left, top + box_height, left + box_width
            limits = height, width, height, width
            box = [
                min(max(side, 0), limit)
                for side, limit in zip(whole, limits, strict=True)
            ]
            if box[0] >= box[2] or box[1] >= box[3]:
                changed["dropped"] += 1
                continue
            # Less is rounding.
            if max(abs(a - b) for a, b in zip(whole, box, strict=True)) > 1:
                changed["clipped"] += 1
            relative = [side / limit for side, limit in zip(box, limits, strict=True)]
            found.append([*relative, self._labels[category]])
        return [found, dict(changed)]

    def settle(self, examples):
        notes = []
        for key, words in (
            ("clipped", "boxes reach beyond their image and are cut off there"),
            ("dropped", "boxes are outside their image or have no area: left out"),
        ):
            count = sum(example.found[1].get(key, 0) for example in examples)
            if count:
                notes.append(f"{count} {words}.")
        sides = [
            side for e in examples for each in e.target.objects for side in each[:4]
        ]
        if sides and max(sides) <= 1:
            raise ValueError(
                f"{self.path} has boxes whose sides are at most {max(sides):g}. They "
                "must be in pixels, not shares of the image. Multiply them by the "
                "image's width and height."
            )
        used = {box[4] for example in examples for box in example.found[0]}
        unused = [name for i, name in enumerate(self._names) if i not in used]
        if unused:
            notes.append(f"{len(unused)} classes have no box: {shown(unused)}.")
        return {"label_names": self._names, "notes": notes}

    def features(self, settled):
        return {
            "objects": tfds.features.Sequence(
                {
                    "bbox": tfds.features.BBoxFeature(),
                    "label": tfds.features.ClassLabel(names=settled["label_names"]),
                }
            )
        }

    def target(self, example, settled):
        objects = [
            {"bbox": tfds.features.BBox(*box), "label": label}
            for *box, label in example.found[0]
        ]
        return {"objects": objects}

    def identity(self, example):
        return example.found[0]


def open_boxes(path, **options):
    """Opens the data set of a folder with images and JSON files of COCO's format.

    Args:
        path: Path of such a file, or of a folder: with a folder for each split that
            has the images and a file; with `annotations/instances_train.json` and so
            on, and folders of images; or with one file.
        **options: Further arguments of `open_layout`.

    Returns:
        `UserData`, whose examples have an image and "objects".

    Raises:
        ValueError: If the files cannot be used. The message names them.
    """
    files = find_files(path)
    examples, categories, notes, crowds = [], {}, [], 0
    for split, (file, folders) in files.items():
        content = read_coco(file)
        if categories and content.categories != categories:
            first = next(iter(files.values()))[0]
            raise ValueError(
                f"{file} and {first} must have the same categories. Received: "
                f"{_different(content.categories, categories)}. Export both again."
            )
        categories = content.categories
        crowds += content.crowds
        examples += [
            Example(_find_image(folders, name), split, image)
            for name, image in content.images.items()
        ]
        if not content.images or not categories:
            missing = "categories" if content.images else "images"
            raise ValueError(f"{file} has no {missing}. Export it again.")
    if crowds:
        notes.append(f"{crowds} objects are marked as crowds and left out.")
    layout = Boxes(
        categories,
        path=path,
        root=next(iter(files.values()))[1][-1],
        examples=examples,
        notes=notes,
    )
    return open_layout(layout, **options)


def find_files(path):
    """Returns the JSON file of each split, and where its images may be.

    Returns:
        Dict from split to `(file, folders)`, "train" first.

    Raises:
        ValueError: If there is no such file, or if its name does not contain a split.
    """
    if str(path).endswith(".json"):
        file = Path(os.path.expanduser(path)).absolute()
        return {"train": (file, [file.parent / "images", file.parent])}
    folder = existing_folder(path)
    splits = split_folders(folder)
    inside = {split: _json_files(each) for split, each in splits.items()}
    if any(inside.values()):
        return {
            split: (
                _only(splits[split], files),
                [splits[split] / "images", splits[split]],
            )
            for split, files in inside.items()
        }
    return _beside(folder)


def _beside(folder):
    """Returns the files of a folder whose names tell the splits; as `find_files`."""
    annotations = folder / "annotations"
    where = annotations if annotations.is_dir() else folder
    files = _json_files(where)
    files = [file for file in files if file.name.startswith("instances")] or files
    if len(files) == 1 and not _SPLIT.search(files[0].stem):
        return {"train": (files[0], [*_image_folders(folder), where, folder])}
    found = {}
    for file in files:
        match = _SPLIT.search(file.stem)
        split = SPLITS[match[1].lower()] if match else None
        if split is None or split in found:
            raise ValueError(
                f"{where} must have one JSON file for each split, with 'train', 'val' "
                f"or 'test' in its name. Received: {[each.name for each in files]}. "
                "Rename or remove files."
            )
        # Of "train2017" before "train", and of the split before all others.
        names = {file.stem.split("_")[-1].lower(), match[1].lower()}
        folders = _image_folders(folder)
        own = [f for f in folders if f.name.lower() in names]
        own += [f for f in folders if SPLITS.get(f.name.lower()) == split]
        found[split] = file, [*own, folder / "images", where, folder]
    if "train" not in found:
        raise ValueError(
            f"{where} must have a JSON file in the format of COCO, such as "
            "annotations/instances_train.json, or one in each of the folders train, "
            f"valid and test. Received: {[file.name for file in files] or 'none'}."
        )
    return {split: found[split] for split in ("train", *sorted(set(found) - {"train"}))}


def _image_folders(folder):
    """Returns the folders that may hold images: those in a folder and in `images`."""
    images = folder / "images"
    inside = subfolders(images) if images.is_dir() else []
    return [*inside, *subfolders(folder)]


def _json_files(folder):
    return sorted(
        file for file in folder.glob("*.json") if not file.name.startswith(".")
    )


def _only(folder, files):
    if len(files) != 1:
        raise ValueError(
            f"{folder} must have one JSON file in the format of COCO. Received: "
            f"{[file.name for file in files] or 'none'}."
        )
    return files[0]


def _find_image(folders, name):
    """Returns the path of an image; that in the last folder if there is none."""
    paths = [folder / name for folder in folders]
    return next((path for path in paths if path.is_file()), paths[-1])


def _different(first, second):
    """Returns the categories that are in one of two dicts alone."""
    pairs = sorted(set(first.items()) ^ set(second.items()))
    return shown([f"{number}: {name}" for number, name in pairs])
