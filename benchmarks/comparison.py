"""Paired comparisons over seeds, as tables and as a figure."""

import itertools

import numpy as np
from report import markdown_table
from scipy import stats

# The usual reference: the same training without a teacher.
ALONE = "student alone"


def mean_and_deviation(values):
    """Returns the mean ± the standard deviation over seeds, in percent, as text."""
    return f"{100 * np.mean(values):.2f} ± {100 * np.std(values, ddof=1):.2f}"


def interval_of_mean(values):
    """Returns the mean and the half-width of its 95% confidence interval."""
    half = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
    return float(np.mean(values)), float(half)


def holm(p_values):
    """Adjusts p-values for their number (Holm's step-down method).

    Args:
        p_values: Sequence of floats.

    Returns:
        Array of the adjusted p-values, in the same order.
    """
    p_values = np.asarray(p_values, "float64")
    order = np.argsort(p_values)
    factors = len(p_values) - np.arange(len(p_values))
    adjusted = np.minimum(np.maximum.accumulate(p_values[order] * factors), 1.0)
    result = np.empty_like(adjusted)
    result[order] = adjusted
    return result


def first_seeds(by_seed):
    """Returns the values of the seeds from 0 on, up to the first one that is missing.

    Args:
        by_seed: Dict from seed to anything.
    """
    seeds = itertools.takewhile(by_seed.__contains__, itertools.count())
    return [by_seed[seed] for seed in seeds]


def same_seeds(first, second):
    """Returns two arrays, ordered by seed, with the seeds that both have."""
    count = min(len(first), len(second))
    return np.asarray(first, "float64")[:count], np.asarray(second, "float64")[:count]


def gains_table(
    accuracies,
    reference,
    extra=None,
    title="test accuracy, %",
    also=None,
    usual_seeds=None,
):
    """Compares everything with one reference, seed by seed.

    Args:
        accuracies: Dict from name to an array of accuracies, ordered by seed. A shorter
            array has the first seeds alone, and is compared on these.
        reference: The name that the others are compared with.
        extra: Optional dict from column title to a dict from name to text.
        title: Title of the column of accuracies.
        also: Optional dict from column title to another reference, an array.
        usual_seeds: Optional integer, the seeds of rows that need not say how many.

    Returns:
        A Markdown table: mean ± standard deviation, the mean gain with its 95%
        interval in points, and the p of the paired t-test, adjusted for the
        number of comparisons with this reference by Holm's method. A column of seeds,
        too, unless all rows have the usual number, or the same one.
    """
    seeds = _seeds_column(accuracies, usual_seeds)
    extra, also = {**(extra or {}), **seeds}, also or {}
    compared = [
        _compared(accuracies, values)
        for values in (accuracies[reference], *also.values())
    ]
    rows = [
        [
            name,
            *(column[name] for column in extra.values()),
            mean_and_deviation(values),
            *itertools.chain(*(column[name] for column in compared)),
        ]
        for name, values in accuracies.items()
    ]
    header = ["", *extra, title, "gain, points", "p"]
    header += [text for name in also for text in (name, "p")]
    return markdown_table(header, rows)


def _seeds_column(rows, usual):
    """Returns a dict with the column of each row's seeds, or an empty one.

    Args:
        rows: Dict from name to an array.
        usual: Integer or `None`, as `usual_seeds` of `gains_table`.
    """
    counts = {name: len(values) for name, values in rows.items()}
    if len({*counts.values(), usual} - {None}) <= 1:
        return {}
    return {"seeds": {name: str(count) for name, count in counts.items()}}


def _compared(accuracies, reference):
    """Returns a dict from name to two texts, empty for the reference itself."""
    others = {
        name: same_seeds(values, reference)
        for name, values in accuracies.items()
        if not np.array_equal(values, reference)
    }
    texts = dict(zip(others, _differences(others.values()), strict=True))
    return {name: texts.get(name, ["", ""]) for name in accuracies}


def differences_table(pairs, title="", usual_seeds=None):
    """Compares pairs, seed by seed.

    Args:
        pairs: Dict from name to two arrays of accuracies, ordered by seed. If one is
            shorter, the seeds of both count.
        title: Title of the column of names.
        usual_seeds: As for `gains_table`.

    Returns:
        A Markdown table: both means, how much higher the first one is with its 95%
        interval in points, and p as in `gains_table`, adjusted for all pairs. A column
        of seeds as there.
    """
    pairs = {name: same_seeds(*pair) for name, pair in pairs.items()}
    firsts = {name: first for name, (first, _) in pairs.items()}
    seeds = _seeds_column(firsts, usual_seeds)
    rows = [
        [
            name,
            *(column[name] for column in seeds.values()),
            *map(mean_and_deviation, pair),
            *difference,
        ]
        for (name, pair), difference in zip(
            pairs.items(), _differences(pairs.values()), strict=True
        )
    ]
    header = [title, *seeds, "first, %", "second, %", "difference", "p"]
    return markdown_table(header, rows)


def _differences(pairs):
    """Returns texts of the mean difference and of p for each pair of `same_seeds`."""
    p_values = holm([_paired_p(*pair) for pair in pairs])
    results = []
    for (first, second), p in zip(pairs, p_values, strict=True):
        gain, half = interval_of_mean(100 * (first - second))
        results.append(
            [
                f"{gain:+.2f} ({gain - half:+.2f} to {gain + half:+.2f})",
                "< 0.001" if p < 0.001 else f"{p:.3f}",
            ]
        )
    return results


def _paired_p(first, second):
    # Of the same runs there is nothing to test.
    same = np.array_equal(first, second)
    return 1.0 if same else stats.ttest_rel(first, second).pvalue


def draw_accuracy_against_time(accuracies, seconds, path):
    """Draws accuracy with 95% intervals against seconds per step, as SVG or PNG.

    Args:
        accuracies: Dict from name to accuracies.
        seconds: Dict from the same names to seconds per step.
        path: The file to write; its folder exists.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5.5))
    FigureCanvasAgg(figure)  # Where labels go is measured in its pixels.
    axes = figure.add_subplot()
    names = sorted(accuracies, key=lambda name: np.mean(accuracies[name]))
    colors = {True: "#b5651d", False: "#3b6ea5"}
    points = {}
    for name in names:
        mean, half = interval_of_mean(100 * np.array(accuracies[name]))
        points[name] = (1000 * seconds[name], mean)
        color = colors[name.startswith("DiffKD")]
        axes.errorbar(
            *points[name], yerr=half, fmt="o", color=color, capsize=3, alpha=0.9
        )
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("{x:g}")
    axes.set_xlabel("milliseconds per training step")
    axes.set_ylabel("test accuracy of the student, %, 95% interval of the mean")
    axes.grid(alpha=0.3)
    figure.tight_layout()
    _label_points(axes, points)
    figure.savefig(path)


def _label_points(axes, points):
    """Writes the names beside their points, where no other point or name is."""
    markers = [axes.transData.transform(point) for point in points.values()]
    taken = []
    for name, point in points.items():
        boxes = []
        for x, y in ((6, 4), (6, -11), (-6, 4), (-6, -11), (6, 14), (-6, 14), (6, -21)):
            label = axes.annotate(
                name,
                point,
                textcoords="offset points",
                xytext=(x, y),
                fontsize=8,
                horizontalalignment="left" if x > 0 else "right",
            )
            box = label.get_window_extent()
            hidden = sum(box.overlaps(other) for other in taken)
            hidden += sum(box.contains(*marker) for marker in markers)
            hidden += box.x0 < axes.bbox.x0 or box.x1 > axes.bbox.x1
            boxes.append((hidden, label, box))
            if not hidden:
                break
        _, kept, box = min(boxes, key=lambda candidate: candidate[0])
        taken.append(box)
        for _, label, _ in boxes:
            if label is not kept:
                label.remove()
