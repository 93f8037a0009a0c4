"""Draws docs/fashion_mnist.svg from the runs in benchmarks/runs/fashion_mnist.jsonl.

Run it from the root of the repository: `python benchmarks/fashion_figure.py`. The
runs are those of the section "Fashion-MNIST" of docs/results.md.
"""

import json
from pathlib import Path

import numpy as np
from gpu_tables import common_seeds

ROOT = Path(__file__).parents[1]
RUNS = ROOT / "benchmarks" / "runs" / "fashion_mnist.jsonl"
FIGURE = ROOT / "docs" / "fashion_mnist.svg"
# Row of the table: label in the figure. All weights of these were tried.
SHOWN = {
    "student alone": "student alone",
    "FitNet, weight 30": "FitNet",
    "KD": "KD",
    "DiffKD features, weight 30": "DiffKD",
    "KD + DiffKD features, weight 10": "KD + DiffKD",
}


def read_runs():
    """Returns the description of the run, and each row's accuracies of common seeds."""
    about, *runs = map(json.loads, RUNS.read_text(encoding="utf-8").splitlines())
    return about, common_seeds(runs, about["rows"])


def draw(teacher, accuracies, path):
    """Draws every seed as a dot and the mean of each row as a line.

    Args:
        teacher: The teacher's accuracy, 0 to 1.
        accuracies: Dict from row to an array of accuracies.
        path: The SVG file to write.
    """
    import matplotlib
    from matplotlib.figure import Figure

    matplotlib.rcParams["svg.hashsalt"] = "keras-diffkd"  # The same file every time.
    figure = Figure(figsize=(7.5, 2.7), layout="constrained")
    axes = figure.add_subplot()
    for y, (row, label) in enumerate(SHOWN.items()):
        values = 100 * accuracies[row]
        mean = np.mean(values)
        color = "#b5651d" if "DiffKD" in label else "#3b6ea5"
        axes.plot(values, np.full(len(values), y), "o", color=color, alpha=0.6)
        axes.plot(mean, y, "|", color=color, markersize=19, markeredgewidth=3)
        axes.text(90.8, y, f"{mean:.2f}", ha="right", va="center", fontweight="bold")
    axes.axvline(100 * teacher, color="0.3", linestyle="--", linewidth=1)
    axes.set_yticks(range(len(SHOWN)), SHOWN.values())
    axes.set_xlim(83, 91.5)
    axes.set_ylim(len(SHOWN) - 0.4, -0.6)
    axes.grid(axis="x", alpha=0.3)
    axes.set_xlabel(
        "test accuracy, %: dots are seeds, lines their mean, "
        f"dashed the teacher ({100 * teacher:.2f})"
    )
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, metadata={"Date": None})


def main():
    """Draws the figure of the page."""
    about, accuracies = read_runs()
    draw(about["teacher"], accuracies, FIGURE)


if __name__ == "__main__":
    main()
