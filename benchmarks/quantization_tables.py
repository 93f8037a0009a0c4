"""The tables of `quantization_aware.py`."""

import statistics

from quantization_students import (
    ALONE,
    DIFFKD,
    DIFFKD_FIRST,
    FLOAT,
    KD,
    KD_1,
    KD_1_DIFFKD_FIRST,
    KD_DIFFKD,
    KD_DIFFKD_FIRST,
    STUDENT_ARMS,
)
from report import machines_of, markdown_table

FORMATS = {"tflite_int8": "LiteRT", "onnx_int8": "onnxruntime"}
FIGURE = "quantization.svg"
COLORS = {"tflite_int8": "#b5651d", "onnx_int8": "#3b6ea5"}
TITLES = {
    FLOAT: "post-training int8",
    ALONE: "quantization-aware, no teacher",
    KD: "quantization-aware, KD",
    KD_DIFFKD: "quantization-aware, KD + DiffKD",
    KD_DIFFKD_FIRST: "the same, methods first",
    KD_1: "quantization-aware, KD, temperature 1",
    KD_1_DIFFKD_FIRST: "the same + DiffKD, methods first",
    DIFFKD: "quantization-aware, DiffKD",
    DIFFKD_FIRST: "the same, methods first",
}


def report(records):
    """Returns the section of docs/results.md.

    Args:
        records: List of records.
    """
    parts = [
        "Classifiers of Fashion-MNIST (all images labeled), and a segmenter and a "
        "detector of digit scenes with half of their teacher's channels. A float "
        "student is trained once for each seed; then all rows go on from it for the "
        "same number of steps, with the same images and learning rate. Values, in "
        "percent on all test images, are those of the files in their runtimes. Means "
        "and standard deviations over the seeds that finished in all rows; differences "
        "are those within a seed, from the float student that was trained further. "
        "Methods first: before, only the methods' own layers train, for an epoch. "
        "Nothing was tuned, except that temperature 1 for KD of pixels and methods "
        "first were found on 500 training images of another seed. A single seed says "
        "little about tenths of a point.",
        f"![int8 files compared with the float student]({FIGURE})",
    ]
    for student, arms in STUDENT_ARMS.items():
        chosen = [record for record in records if record["student"] == student]
        found = table(records, student, arms)
        if found:
            first, further = chosen[0]["steps"]
            parts += [
                f"**{student}**, {chosen[0]['metric']} ({chosen[0]['parameters']:,} "
                f"weights; {first:,} steps, then {further:,})",
                found,
            ]
    parts.append(agreement(records))
    parts.append(f"{machines_of(records)}; `python benchmarks/quantization_aware.py`.")
    return "\n\n".join(part for part in parts if part)


def by_seed(records, student, arms):
    """Returns dicts by arm from seed to record, of seeds that finished in all arms.

    Args:
        records: List of records.
        student: Its name.
        arms: Its arms.
    """
    found = {arm: {} for arm in arms}
    for record in records:
        if record["student"] == student:
            found[record["arm"]][record["seed"]] = record
    seeds = sorted(set.intersection(*(set(each) for each in found.values())))
    return {arm: {seed: each[seed] for seed in seeds} for arm, each in found.items()}


def gains_of(records, student, arms):
    """Returns, by arm and format, lists of points over the float student by seed."""
    found = by_seed(records, student, arms)
    return {
        arm: {
            name: [
                100 * (record[name]["value"] - found[FLOAT][seed]["keras"])
                for seed, record in each.items()
            ]
            for name in FORMATS
        }
        for arm, each in found.items()
        if each
    }


def table(records, student, arms):
    """Returns the table of one student as Markdown, or "" before a seed is complete.

    Args:
        records: List of records.
        student: Its name.
        arms: Its arms.
    """
    found = by_seed(records, student, arms)
    gains = gains_of(records, student, arms)
    if not gains:
        return ""
    count = str(len(found[FLOAT]))
    exact = _spread([100 * record["keras"] for record in found[FLOAT].values()])
    rows = [["float", count, exact, exact, "", exact, ""]]
    for arm, each in found.items():
        own = _spread([100 * record["keras"] for record in each.values()])
        row = [TITLES[arm], count, own]
        for name in FORMATS:
            row.append(_spread([100 * r[name]["value"] for r in each.values()]))
            row.append(_spread(gains[arm][name], "+.2f"))
        rows.append(row)
    header = ["", "seeds", "its own float student"]
    for title in FORMATS.values():
        header += [title, "minus float"]
    return markdown_table(header, rows)


def agreement(records):
    """Says how far the files are from what was simulated."""
    found = [
        record[name]
        for record in records
        for name in FORMATS
        if "mean_steps" in record[name]
    ]
    if not found:
        return ""
    mean = max(one["mean_steps"] for one in found)
    largest = max(one["max_steps"] for one in found)
    agree = [100 * one["agreement"] for one in found if one["agreement"] is not None]
    return (
        f"Files and simulation, over {len(found)} files of quantization-aware "
        f"students: in the worst file outputs differ by {mean:.3f} int8 steps on "
        f"average, and the prediction is the same for {min(agree):.2f}% "
        f"({statistics.mean(agree):.2f}% on average over the files). The largest "
        f"single difference is {largest:.0f} steps."
    )


def _spread(values, form=".2f"):
    text = f"{statistics.mean(values):{form}}"
    return f"{text} ± {statistics.stdev(values):.2f}" if len(values) > 1 else text


def draw(records, path):
    """Draws how far the files of each row are from the float student, as SVG.

    Args:
        records: List of records.
        path: The file to write.
    """
    import matplotlib
    from matplotlib.figure import Figure

    matplotlib.rcParams["svg.hashsalt"] = "keras-diffkd"  # The same file every time.
    rows = []
    for student, arms in STUDENT_ARMS.items():
        if gains := gains_of(records, student, arms):
            rows += [(student, {}), *((TITLES[arm], gains[arm]) for arm in gains)]
    figure = Figure(figsize=(8, 0.8 + 0.3 * len(rows)), layout="constrained")
    axes = figure.subplots()
    for y, (_, gains) in enumerate(rows):
        for name, points in gains.items():
            marker = {"tflite_int8": "o", "onnx_int8": "x"}[name]
            axes.plot(points, [y] * len(points), marker, color=COLORS[name], ms=5)
    for name, marker in (("tflite_int8", "o"), ("onnx_int8", "x")):
        axes.plot([], [], marker, color=COLORS[name], label=FORMATS[name])
    axes.legend(fontsize=8, loc="best")
    axes.axvline(0, color="0.3", linewidth=1)
    axes.set_yticks(range(len(rows)), [title for title, _ in rows])
    for label, (_, gains) in zip(axes.get_yticklabels(), rows, strict=True):
        label.set_fontweight("normal" if gains else "bold")
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlabel("int8 file minus float student, points")
    axes.grid(axis="x", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, metadata={"Date": None})
