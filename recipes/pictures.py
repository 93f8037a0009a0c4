"""Draws predictions of several models for the same images, side by side."""

from pathlib import Path

import keras
import numpy as np

from . import tasks


def draw_predictions(networks, data, path, count=4):
    """Draws test images with the truth and every model's prediction.

    Args:
        networks: dict of `keras.Model` by title.
        data: the data set.
        path: PNG, SVG or PDF file to write, in a folder that is created if needed.
        count: int, images (rows).

    Raises:
        ImportError: if matplotlib is missing (extra `plot`).
    """
    figure = predictions_figure(networks, data, count)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def predictions_figure(networks, data, count=4):
    """Returns the figure of `draw_predictions` for the same arguments."""
    task = tasks.current()
    images, targets = next(iter(data.test.unbatch().batch(count)))
    targets = keras.tree.map_structure(np.array, targets)
    columns = {"image": [None] * len(images), "truth": task.truths(targets)}
    for title, network in networks.items():
        outputs = tasks.forward(network)(images)
        columns[title] = task.predictions(network, outputs)
    return columns_figure(visible(images, data), columns, data)


def columns_figure(images, columns, data):
    """Draws each image in a row, with each model's prediction in a column.

    Args:
        images: array of colors, `(rows, height, width, channels)`.
        columns: dict from title to a list of predictions for `Task.draw`, or `None`.
        data: the data set.

    Returns:
        `matplotlib.figure.Figure`.

    Raises:
        ImportError: if matplotlib is missing (extra `plot`).
    """
    from matplotlib.figure import Figure

    figure = Figure(
        figsize=(1.9 * len(columns), 1.9 * len(images) + 0.4), layout="constrained"
    )
    grid = figure.subplots(len(images), len(columns), squeeze=False)
    for row, pixels in enumerate(images):
        for axes, (title, predictions) in zip(grid[row], columns.items(), strict=True):
            axes.imshow(
                pixels.squeeze(), cmap="gray" if pixels.shape[-1] == 1 else None
            )
            axes.set_axis_off()
            if row == 0:
                axes.set_title(title, fontsize=10)
            if predictions[row] is not None:
                tasks.current().draw(axes, predictions[row], data)
    return figure


def visible(images, data):
    """Returns normalized images as colors from 0 to 1."""
    mean, std = (np.array(data.normalization[key]) for key in ("mean", "std"))
    return np.clip(np.array(images) * std + mean, 0.0, 1.0)
