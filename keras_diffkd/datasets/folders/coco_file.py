"""Reads files of objects in the format of COCO."""

import json
import math
import typing


class CocoFile(typing.NamedTuple):
    """Holds what a file of COCO's format says.

    Attributes:
        images: Dict from the name of an image file to `CocoImage`.
        categories: Dict from id to name.
        crowds: Integer, the number of objects that are left out because they are
            marked as crowds.
    """

    images: dict
    categories: dict
    crowds: int


class CocoImage(typing.NamedTuple):
    """Holds the objects in an image.

    Attributes:
        size: `(height, width)` that the file says, or `None`.
        objects: List of `[x, y, width, height, category id]` in pixels.
    """

    size: tuple | None
    objects: list


def read_coco(path):
    """Reads a file in the format of COCO.

    Objects with `iscrowd` are left out, because their box contains several objects.

    Args:
        path: `Path` of the JSON file.

    Raises:
        ValueError: If the file cannot be read, or an entry is missing or wrong. The
            message names the file and the entry.

    Source: the description of the format at cocodataset.org (Lin et al., arXiv
    1405.0312).
    """
    content = _load(path)
    names, images = {}, {}
    for entry in content["images"]:
        image_id, name = _of(path, "images", entry, "id", "file_name")
        if image_id in names or name in images or not isinstance(name, str):
            raise ValueError(
                f"{path} must name each image once. Received: {entry} again. Remove "
                "one of the entries in 'images'."
            )
        names[image_id] = name
        size = entry.get("height"), entry.get("width")
        images[name] = CocoImage(None if None in size else size, [])
    categories = {}
    for entry in content["categories"]:
        number, name = _of(path, "categories", entry, "id", "name")
        if not isinstance(number, int) or number in categories:
            raise ValueError(
                f"{path} must give each category an integer of its own. Received: "
                f"{entry}. Correct 'categories'."
            )
        categories[number] = str(name)
    crowds = 0
    for entry in content["annotations"]:
        image_id, category, box = _of(
            path, "annotations", entry, "image_id", "category_id", "bbox"
        )
        for key, value, known in (
            ("image_id", image_id, names),
            ("category_id", category, categories),
        ):
            if value not in known:
                raise ValueError(
                    f"{path} has an annotation of the {key} {value!r}, which is not "
                    f"in the file: {_short(entry)}. Correct or remove it."
                )
        if not _is_box(box):
            raise ValueError(
                f"{path} must have boxes [x, y, width, height] in pixels. Received: "
                f"{_short(entry)}. Correct or remove it."
            )
        if entry.get("iscrowd"):
            crowds += 1
        else:
            images[names[image_id]].objects.append([*box, category])
    return CocoFile(images, categories, crowds)


def _load(path):
    """Returns the dict in a JSON file, with the three lists of COCO."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(
            f"{path} cannot be read: {error.strerror}. Check the path."
        ) from error
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise ValueError(
            f"{path} is not a JSON file: {error}. Export or copy it again."
        ) from error
    keys = ("images", "annotations", "categories")
    found = sorted(content) if isinstance(content, dict) else type(content).__name__
    if not isinstance(content, dict) or not all(
        isinstance(content.get(key), list) for key in keys
    ):
        raise ValueError(
            f"{path} must be in the format of COCO, a dictionary with the lists "
            f"{', '.join(keys)}. Received: {found}. Export the boxes as COCO JSON."
        )
    return content


def _of(path, where, entry, *keys):
    """Returns the values of an entry."""
    if not isinstance(entry, dict) or not all(key in entry for key in keys):
        raise ValueError(
            f"{path} must have {', '.join(keys)} in each entry of {where!r}. Received: "
            f"{_short(entry)}. Export or correct it."
        )
    values = [entry[key] for key in keys]
    if any(isinstance(value, (dict, list)) for value in values[:2]):
        raise ValueError(
            f"{path} has an entry of {where!r} whose {keys[0]} or {keys[1]} is not a "
            f"number or a text: {_short(entry)}. Correct it."
        )
    return values


def _is_box(box):
    return (
        isinstance(box, list)
        and len(box) == 4
        and all(type(side) in (int, float) and math.isfinite(side) for side in box)
    )


def _short(entry):
    """Returns an entry as text, without long lists such as polygons."""
    if isinstance(entry, dict):
        entry = {key: entry[key] for key in entry if key != "segmentation"}
    return str(entry)[:200]
