"""Finds the test images on which the models disagree most."""

import collections
import heapq

import keras
import numpy as np

from .. import tasks
from ..pictures import columns_figure, visible
from .figures import pixels_png, png
from .records import DISTILLED, TEACHER

# Test images to search for disagreements.
MAX_COMPARED = 1024
BATCH_SIZE = 64


def disagreements(networks, data, count=8):
    """Finds the test images on which student and teacher disagree most.

    Args:
        networks: dict of `keras.Model` by name.
        data: the data set.
        count: int, images at most.

    Returns:
        dict with `compared` and `disagreeing`, numbers of images; `cards`, a list of
        dicts for images whose predictions are text; and `picture`, the address of a
        picture of all others. None if the two models cannot be compared.
    """
    if not {TEACHER, DISTILLED} <= set(networks) or _differ(networks, data):
        return None
    counts = collections.Counter()
    worst = heapq.nlargest(
        count,
        _disagreeing(networks, data, counts),
        key=lambda entry: entry["disagreement"],
    )
    rows = _with_images(worst, data)
    texts = all(row["texts"][DISTILLED] is not None for row in rows)
    return {
        **{name: counts[name] for name in ("compared", "disagreeing")},
        "cards": [_card(row) for row in rows] if texts else [],
        "picture": None if texts else _picture(rows, data),
    }


def _differ(networks, data):
    """Returns whether the teacher has other classes than the student."""
    image, _ = next(iter(data.test.unbatch().batch(1)))
    teacher, student = (
        keras.tree.map_structure(np.shape, tasks.forward(networks[name])(image))
        for name in (TEACHER, DISTILLED)
    )
    return teacher != student


def _batches(data):
    return data.test.unbatch().take(MAX_COMPARED).batch(BATCH_SIZE)


def _disagreeing(networks, data, counts):
    """Yields the images on which the two disagree, and counts all images."""
    task = tasks.current()
    forwards = {name: tasks.forward(networks[name]) for name in (TEACHER, DISTILLED)}
    for images, _ in _batches(data):
        predictions = [
            task.predictions(networks[name], forward(images))
            for name, forward in forwards.items()
        ]
        for pair in zip(*predictions, strict=True):
            index = counts["compared"]
            counts["compared"] += 1
            disagreement = task.disagreement(*pair)
            if disagreement > 0:
                counts["disagreeing"] += 1
                yield {
                    "index": index,
                    "disagreement": disagreement,
                    "predictions": dict(zip(forwards, pair, strict=True)),
                }


def _with_images(entries, data):
    """Adds image, truth and texts to entries, in a second pass over the data."""
    task = tasks.current()
    wanted = {entry["index"]: entry for entry in entries}
    start = 0
    for images, targets in _batches(data):
        targets = keras.tree.map_structure(np.array, targets)
        truths = task.truths(targets)
        pictures = visible(images, data)
        for index in wanted.keys() & range(start, start + len(truths)):
            entry = wanted[index]
            entry["pixels"] = pictures[index - start]
            truth = {"truth": truths[index - start]}
            entry["predictions"] = truth | entry["predictions"]
            entry["texts"] = {
                name: task.describe(prediction, data)
                for name, prediction in entry["predictions"].items()
            }
        start += len(truths)
    return entries


def _card(row):
    truth = row["predictions"]["truth"][0]
    return {
        "image": pixels_png(row["pixels"]),
        "truth": row["texts"]["truth"],
        "predictions": [
            {"model": name, "text": row["texts"][name], "right": found[0] == truth}
            for name, found in row["predictions"].items()
            if name != "truth"
        ],
    }


def _picture(rows, data):
    titles = rows[0]["predictions"]
    columns = {title: [row["predictions"][title] for row in rows] for title in titles}
    return png(columns_figure([row["pixels"] for row in rows], columns, data))
