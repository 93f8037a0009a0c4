"""Draws the figures of a report as SVG in the colors of the page."""

import base64
import io
import math
import re

from .records import ALONE, DISTILLED, TEACHER

# matplotlib draws in placeholder colors; the style sheet has light and dark ones.
TEXT = "#0000f0"
COLORS = {TEACHER: "#0000f1", ALONE: "#0000f2", DISTILLED: "#0000f3"}
STYLE = {
    TEXT: "currentColor",
    COLORS[TEACHER]: "var(--teacher)",
    COLORS[ALONE]: "var(--alone)",
    COLORS[DISTILLED]: "var(--distilled)",
}
SETTINGS = {
    "svg.fonttype": "none",
    "font.size": 9,
    **dict.fromkeys(
        ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color"), TEXT
    ),
    "ytick.color": TEXT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "legend.frameon": False,
}
LINES = {TEACHER: "--", ALONE: "-", DISTILLED: "-"}
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", "p", "*", ">", "h")
# Curves of fewer epochs also have points.
FEW_EPOCHS = 13
# The axis is logarithmic from this ratio of the largest to the smallest value on.
WIDE_RANGE = 50


def draw_curves(title, curves, name, percent=False, size=(3.5, 2.3)):
    """Draws the logs of one name over the epochs.

    Args:
        title: str.
        curves: dict from model to the lines of its `metrics.jsonl`.
        name: str, the log to draw.
        percent: bool, whether the values are shares.
        size: width and height in inches.

    Returns:
        str, an `<svg>` element.
    """
    series = {
        model: [(line["epoch"], line[name]) for line in lines if name in line]
        for model, lines in curves.items()
    }
    series = {model: points for model, points in series.items() if points}
    values = [value for points in series.values() for _, value in points]

    def draw(axes):
        for model, points in series.items():
            marker = "." if len(points) < FEW_EPOCHS else ""
            axes.plot(
                *zip(*points, strict=True),
                color=COLORS[model],
                linestyle=LINES[model],
                marker=marker,
                linewidth=1.6,
            )
        axes.set_title(title)
        axes.set_xlabel("epoch")
        _label_epochs(axes, max(x for points in series.values() for x, _ in points))
        if percent:
            axes.set_ylim(*_range_that_matters(list(series.values())))
            axes.yaxis.set_major_formatter(lambda y, _: f"{100 * y:g}%")
        elif min(values) > 0 and max(values) > WIDE_RANGE * min(values):
            axes.set_yscale("log")

    return _svg(draw, f"{title} {name}", size)


def _range_that_matters(series):
    """Returns the limits of an axis without the first fifth of the epochs.

    There, a metric rises from chance, and its later differences could not be seen.

    Args:
        series: list of lists of `(epoch, value)`.
    """
    late = [
        value for points in series for _, value in points[math.ceil(len(points) / 5) :]
    ]
    late = late or [value for points in series for _, value in points]
    low, high = min(late), max(late)
    margin = 0.06 * (high - low) or 0.01
    return max(low - margin, 0.0), high + margin


def draw_costs(points, metric, cost, names):
    """Draws a metric over the cost of files, on a logarithmic axis.

    Args:
        points: dict from file to `(cost, value, model)`; the model has a color.
        metric: str, the name of the metric.
        cost: str, the name of the cost and its unit.
        names: list of all files in the figures side by side, in which a file has the
            same marker.

    Returns:
        str, an `<svg>` element.
    """

    def draw(axes):
        for file, (x, value, model) in points.items():
            axes.plot(
                x,
                value,
                MARKERS[names.index(file) % len(MARKERS)],
                color=COLORS[model],
                markersize=8,
                markerfacecolor="none",
                markeredgewidth=1.6,
                label=file,
            )
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:,g}")
        axes.xaxis.set_minor_formatter("")
        costs = [x for x, *_ in points.values()]
        axes.set_xlim(min(costs) / 2, max(costs) * 2)
        axes.set_xticks(*_ticks(min(costs) / 2, max(costs) * 2))
        axes.margins(y=0.2)
        axes.yaxis.set_major_formatter(lambda y, _: f"{100 * y:g}%")
        axes.set_xlabel(cost)
        axes.set_ylabel(metric)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=2)

    return _svg(draw, cost, (4.6, 3.8))


def draw_candidates(candidates, width, limit):
    """Draws the latency of candidates over their widths, and the limit.

    Args:
        candidates: list of `Candidate`.
        width: float, the width that was chosen.
        limit: float in milliseconds, or None.

    Returns:
        str, an `<svg>` element.
    """

    def draw(axes):
        points = sorted((each.width, each.milliseconds) for each in candidates)
        axes.plot(*zip(*points, strict=True), color=COLORS[ALONE], marker="o")
        chosen = [point for point in points if point[0] == width]
        axes.plot(*zip(*chosen, strict=True), color=COLORS[DISTILLED], marker="D")
        if limit is not None:
            axes.axhline(limit, color=TEXT, linestyle="--", linewidth=1)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("width")
        axes.set_ylabel("ms")

    return _svg(draw, "candidates", (3.5, 2.3))


def png(figure):
    """Returns a figure of matplotlib as the address of an image in the page."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, facecolor="white")
    return embedded(buffer.getvalue())


def embedded(content):
    """Returns the bytes of a PNG as the address of an image in the page."""
    return "data:image/png;base64," + base64.b64encode(content).decode("ascii")


def pixels_png(pixels):
    """Returns an image of floats from 0 to 1 as the address of an image in the page."""
    from matplotlib.image import imsave

    buffer = io.BytesIO()
    imsave(buffer, pixels.squeeze(), cmap="gray", vmin=0, vmax=1, format="png")
    return embedded(buffer.getvalue())


def _svg(draw, salt, size):
    import matplotlib
    from matplotlib.figure import Figure

    # The salt makes the names of markers, which must differ between figures.
    with matplotlib.rc_context({**SETTINGS, "svg.hashsalt": salt}):
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots()
        axes.grid(color=TEXT, alpha=0.15, linewidth=0.6)
        draw(axes)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True)
    return _inline(buffer.getvalue())


def _inline(text):
    """Returns an SVG file as an element of a page."""
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    # Its style would apply to the whole page.
    text = re.sub(r"<style.*?</style>", "", text, flags=re.DOTALL)
    text = re.sub(r'<g id="[^"]*">', "<g>", text)
    text = re.sub(r"font-family: [^;\"]*", "font-family: inherit", text)
    for stand_in, color in STYLE.items():
        text = text.replace(stand_in, color)
    text = re.sub(r'(<svg[^>]*?) width="[^"]*" height="[^"]*"', r"\1", text)
    return text.replace("<svg", '<svg aria-hidden="true"', 1)


def _label_epochs(axes, last):
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, steps=[1, 2, 5, 10]))
    if last == 1:
        axes.set_xlim(0.5, 1.5)


def _ticks(low, high):
    """Returns 1, 2 and 5 times powers of ten between two sizes, with labels."""
    steps = (1,) if math.log10(high / low) > 2 else (1, 2, 5)
    powers = range(math.ceil(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
    found = [n * 10.0**power for power in powers for n in steps]
    found = [tick for tick in found if low <= tick <= high]
    return found, [f"{tick:,g}" for tick in found]
