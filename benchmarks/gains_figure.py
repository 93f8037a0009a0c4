"""Draws gains over a reference with their intervals."""

import numpy as np
from comparison import interval_of_mean

COLORS = ("#b5651d", "#3b6ea5", "#4f8a4c", "#7a5195")


def draw_gains(panels, path):
    """Draws the mean gain of every row with its 95% interval, as SVG or PNG.

    Args:
        panels: Dict from the title of a panel to `{row: {series: (accuracies,
            reference accuracies)}}`, both ordered by seed.
        path: The file to write; its folder exists.
    """
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    matplotlib.rcParams["svg.hashsalt"] = "keras-diffkd"  # The same file every time.
    rows = [len(panel) for panel in panels.values()]
    figure = Figure(
        figsize=(8, 1.2 * len(rows) + 0.36 * sum(rows)), layout="constrained"
    )
    all_axes = figure.subplots(
        len(rows), squeeze=False, sharex=True, gridspec_kw={"height_ratios": rows}
    )
    names = dict.fromkeys(
        name for panel in panels.values() for row in panel.values() for name in row
    )
    colors = dict(zip(names, COLORS, strict=False))
    for axes, (title, panel) in zip(all_axes[:, 0], panels.items(), strict=True):
        _draw_panel(axes, panel, colors)
        axes.set_title(title.replace("; ", "\n", 1), loc="left", fontsize=10)
    figure.legend(
        [Line2D([], [], marker="o", linestyle="", color=c) for c in colors.values()],
        colors,
        fontsize=9,
        loc="outside upper center",
        ncols=len(colors),
    )
    all_axes[-1, 0].set_xlabel(
        "gain over the student alone, points: mean and 95% interval"
    )
    figure.savefig(path, metadata={"Date": None})


def _draw_panel(axes, panel, colors):
    for y, row in enumerate(panel.values()):
        for place, (series, (values, reference)) in enumerate(row.items()):
            gain, half = interval_of_mean(100 * (np.array(values) - reference))
            axes.errorbar(
                gain,
                y + 0.2 * (place - (len(row) - 1) / 2),
                xerr=half,
                fmt="o",
                markersize=4,
                capsize=2,
                color=colors[series],
            )
    axes.axvline(0, color="0.3", linewidth=1)
    axes.set_yticks(range(len(panel)), panel)
    axes.set_ylim(len(panel) - 0.4, -0.6)
    axes.grid(axis="x", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
