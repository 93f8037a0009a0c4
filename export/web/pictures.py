"""Writes sample images that a browser shows and the page feeds to the student."""

from pathlib import Path

import numpy as np
import tensorflow as tf


def write_pictures(folder, page, samples):
    """Writes images that were made for the student as PNG files.

    Args:
        folder: folder to make.
        page: dict, from `describe_page`.
        samples: array `(N, height, width, channels)` as the student takes it, or a
            tuple `(images, targets)`. Targets of classifiers, integers of shape
            `(N,)`, are shown.

    Returns:
        list of dicts with `file` (relative to the folder's parent) and `label`, which
        is None where nothing is known.

    Raises:
        ValueError: if shape or values are not those of the student's images.

    Example:

    ```python
    write_pictures("page/samples", page, (images[:8], labels[:8]))
    # [{"file": "samples/0.png", "label": "7"}, ...]
    ```
    """
    images, targets = samples if isinstance(samples, tuple) else (samples, None)
    pixels = _to_pixels(np.asarray(images), page)
    labels = _name_labels(targets, len(pixels), page)
    folder = Path(folder)
    folder.mkdir()
    for index, image in enumerate(pixels):
        content = tf.io.encode_png(image).numpy()
        (folder / f"{index}.png").write_bytes(content)
    return [
        {"file": f"{folder.name}/{index}.png", "label": label}
        for index, label in enumerate(labels)
    ]


def _to_pixels(images, page):
    picture = page["input"]
    expected = (picture["height"], picture["width"], picture["channels"])
    if images.ndim != 4 or images.shape[1:] != expected:
        raise ValueError(
            "The samples of the web page do not have the shape of the student's input. "
            f"Expected: {('N', *expected)}. Received: {images.shape}"
        )
    if page["normalization"] is not None:
        mean, std = (np.array(page["normalization"][key]) for key in ("mean", "std"))
        images = (images * std + mean) * 255
    if images.size and not (images.min() > -1 and images.max() < 256):
        raise ValueError(
            "The samples of the web page are not what the student takes: expected "
            "images whose pixels, before normalization, are in 0..255. Received: "
            f"pixels of {images.min():.4g} to {images.max():.4g}"
        )
    return np.clip(np.rint(images), 0, 255).astype("uint8")


def _name_labels(targets, count, page):
    if targets is None or page["task"] != "classification":
        return [None] * count
    targets = np.asarray(targets)
    if targets.size != count or not np.issubdtype(targets.dtype, np.integer):
        raise ValueError(
            f"Expected one integer label for each of the {count} samples of the web "
            f"page. Received: {targets.dtype.name} of shape {targets.shape}"
        )
    indices = targets.ravel().tolist()
    return [page["labels"][i] if page["labels"] else str(i) for i in indices]
