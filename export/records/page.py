"""page.json: describes the student to the web page."""

import json
from pathlib import Path

from keras_diffkd.errors import ExportError

from .fingerprints import find_break, fingerprint

FILE_NAME = "page.json"
GENERATOR = "keras_diffkd.export.web"
VERSION = 1
# Of the page inside an export.
FOLDER = "web"
# Larger inputs are pictures, which nobody draws.
_LARGEST_DRAWING = 32


def describe_page(manifest, title=None, drawing=None):
    """Describes a student for the page, and how to run it.

    Nothing of the manifest that names places of this machine is in it, because
    pages are published.

    Args:
        manifest: dict, from `read_manifest`, or before there are artifacts.
        title: str, or None for the student's name.
        drawing: bool, whether the page has an area to draw on; None for small gray
            images whose classes are digits or letters.

    Returns:
        dict, the content of `page.json` but for samples and runtime.

    Raises:
        ExportError: if the student is not one of images that the page can show or
            people can draw, or the manifest does not say how pixels become its input.

    Example:

    ```python
    describe_page(read_manifest("runs/digits/export"))["task"]  # "classification"
    ```
    """
    picture = _describe_input(manifest)
    task, labels = _find_task(manifest), _name_classes(manifest)
    if drawing is None:
        drawing = _is_of_signs(task, picture, labels)
    name = manifest["student"]["name"]
    return {
        "generator": GENERATOR,
        "version": VERSION,
        "title": title or name.replace("_", " "),
        "parameters": manifest["student"]["parameters"],
        "task": task,
        "input": picture,
        "outputs": [output["name"] for output in manifest["outputs"]],
        "labels": labels,
        "prediction": (manifest.get("predictions") or {}).get(
            manifest["outputs"][0]["name"]
        ),
        "normalization": _check_normalization(manifest["normalization"], picture),
        "nms": (manifest["detection"] or {}).get("nms"),
        "drawing": _describe_drawing(task, picture) if drawing else None,
    }


def is_page(folder):
    """Returns whether a folder holds one of our pages.

    Example:

    ```python
    is_page("runs/digits/export/web")  # True
    ```
    """
    return _read_page(folder) is not None


def find_page_damage(folder):
    """Returns the changes since a page was written.

    Args:
        folder: of the page.

    Returns:
        list of strings, empty if nothing is wrong.

    Example:

    ```python
    find_page_damage("runs/digits/export/web")  # []
    ```
    """
    folder = Path(folder)
    page = _read_page(folder)
    if page is None:
        return [f"{FILE_NAME} is missing or corrupt"]
    broken = find_break(page)
    if broken:
        return [f"{FILE_NAME} {broken}"]
    found = fingerprint(folder)["files"]
    return [
        f"{name} is missing, was changed, or is not part of the page"
        for name in sorted({*found, *page["files"]} - {FILE_NAME})
        if found.get(name) != page["files"].get(name)
    ]


def _read_page(folder):
    try:
        page = json.loads((Path(folder) / FILE_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    is_ours = isinstance(page, dict) and page.get("generator") == GENERATOR
    return page if is_ours else None


def _describe_input(manifest):
    inputs = manifest["inputs"]
    shapes = {entry["name"]: entry["shape"] for entry in inputs}
    fits = len(inputs) == 1 and len(inputs[0]["shape"]) == 4
    if not fits or inputs[0]["shape"][-1] not in (1, 3):
        raise ExportError(
            "The web page feeds one image (batch, height, width, channels) of 1 or 3 "
            "channels. Export this student without the page. Received: inputs of "
            f"shape {shapes}"
        )
    dtype = inputs[0]["dtype"]
    if dtype not in ("float32", "uint8"):
        raise ExportError(
            "The web page feeds float32 images or uint8 pixels. Export this student "
            f"without the page. Received: an input of {dtype}"
        )
    batch_size, height, width, channels = inputs[0]["shape"]
    if batch_size not in (None, 1):
        raise ExportError(
            "The web page feeds one image at a time. Export with batch_size=1 or None "
            "(--batch=1 or --batch=dynamic), or without the page. Received: a student "
            f"for batches of {batch_size}"
        )
    if height is None or width is None:
        raise ExportError(
            "The web page feeds images of one size. Build the student for it, or "
            f"export without the page. Received: inputs of shape {shapes}"
        )
    return {
        "name": inputs[0]["name"],
        "dtype": dtype,
        "height": height,
        "width": width,
        "channels": channels,
    }


def _find_task(manifest):
    if manifest["detection"] is not None:
        return "detection"
    outputs = manifest["outputs"]
    tasks = {2: "classification", 4: "segmentation"}
    rank = len(outputs[0]["shape"]) if len(outputs) == 1 else None
    if rank not in tasks:
        shapes = {entry["name"]: entry["shape"] for entry in outputs}
        raise ExportError(
            "The web page shows the answers of classifiers, segmenters and RetinaNet "
            "detectors: one output (batch, classes) or (batch, height, width, "
            "classes), or decoded boxes. Export this student without the page. "
            f"Received: outputs of shape {shapes}"
        )
    return tasks[rank]


def _name_classes(manifest):
    """Returns the labels; where one unit has one label, the other class gets one."""
    labels = manifest["labels"]
    is_one = manifest["outputs"][0]["shape"][-1] == 1 and not manifest["detection"]
    if labels and len(labels) == 1 and is_one:
        return [f"not {labels[0]}", labels[0]]
    return labels


def _check_normalization(normalization, picture):
    """Returns mean and standard deviation per channel; None where pixels go in."""
    if picture["dtype"] == "uint8":
        return None
    found = normalization or {}
    mean, std = found.get("mean"), found.get("std")
    channels = picture["channels"]
    fits = (
        all(_are_numbers(values, channels) for values in (mean, std))
        and 0 not in std
        and found.get("input_range", [0, 255]) == [0, 255]
    )
    if not fits:
        raise ExportError(
            "The web page makes the student's input from pixels, as `(pixel / 255 - "
            "mean) / std`. Export with normalization={'mean': [...], 'std': [...]}, "
            f"{channels} numbers each. Received: normalization={normalization!r}"
        )
    return {"mean": mean, "std": std}


def _are_numbers(values, count):
    return (
        isinstance(values, list)
        and len(values) == count
        and all(isinstance(value, int | float) for value in values)
    )


def _can_be_drawn(task, picture):
    sides = (picture["height"], picture["width"])
    is_small = max(sides) <= _LARGEST_DRAWING and picture["channels"] == 1
    return task == "classification" and is_small


def _is_of_signs(task, picture, labels):
    """Returns whether people draw the classes: digits and letters, not clothes."""
    return _can_be_drawn(task, picture) and all(
        len(label) == 1 for label in labels or []
    )


def _describe_drawing(task, picture):
    """Returns how a drawing becomes an image."""
    sides = (picture["height"], picture["width"])
    if not _can_be_drawn(task, picture):
        raise ExportError(
            "Drawings become gray images of at most "
            f"{_LARGEST_DRAWING}x{_LARGEST_DRAWING} pixels for a classifier. Leave the "
            "drawing area out (drawing=False, --web_input=picture). Received: "
            f"{task} of {picture['height']}x{picture['width']}x{picture['channels']}"
        )
    # The UCI digits of 8x8 pixels fill their image, those of MNIST have 4 of 28
    # pixels around them. Pens are as thick as theirs.
    return {"margin": 0 if max(sides) <= 16 else 1 / 7, "pen": 0.16}
