"""The tables of `quantization_aware.py`."""

import statistics

from quantization_students import ALONE, DIFFKD, FLOAT, KD, KD_DIFFKD, STUDENT_ARMS
from report import markdown_table

FORMATS = {"tflite_int8": "LiteRT", "onnx_int8": "onnxruntime"}
TITLES = {
    FLOAT: "int8 after training",
    ALONE: "quantization-aware, no teacher",
    KD: "quantization-aware, KD",
    KD_DIFFKD: "quantization-aware, KD + DiffKD",
    DIFFKD: "quantization-aware, DiffKD",
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
        "Nothing was tuned."
    ]
    for student, arms in STUDENT_ARMS.items():
        chosen = [record for record in records if record["student"] == student]
        found = table(chosen, arms)
        if found:
            first, further = chosen[0]["steps"]
            parts += [
                f"**{student}**, {chosen[0]['metric']} ({chosen[0]['parameters']:,} "
                f"weights; {first:,} steps, then {further:,})",
                found,
            ]
    parts.append(agreement(records))
    parts.append(f"{records[0]['machine']}; `python benchmarks/quantization_aware.py`.")
    return "\n\n".join(part for part in parts if part)


def table(records, arms):
    """Returns the table of one student as Markdown, or "" before a seed is complete.

    Args:
        records: List of its records.
        arms: Its arms.
    """
    by_arm = {arm: {} for arm in arms}
    for record in records:
        by_arm[record["arm"]][record["seed"]] = record
    seeds = sorted(set.intersection(*(set(found) for found in by_arm.values())))
    if not seeds:
        return ""
    exact = [100 * by_arm[FLOAT][seed]["keras"] for seed in seeds]
    rows = [["float", str(len(seeds)), _spread(exact), "", _spread(exact), ""]]
    for arm in arms:
        row = [TITLES[arm], str(len(seeds))]
        for name in FORMATS:
            values = [100 * by_arm[arm][seed][name]["value"] for seed in seeds]
            gained = [value - one for value, one in zip(values, exact, strict=True)]
            row += [_spread(values), _spread(gained, "+.2f")]
        rows.append(row)
    header = ["", "seeds"]
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
