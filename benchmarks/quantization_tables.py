"""The tables of `quantization_aware.py`."""

import statistics

from quantization_students import (
    ALONE,
    BATCH_SIZE,
    DIFFKD,
    FIRST,
    FLOAT,
    FURTHER,
    KD,
    NETWORKS,
)
from report import markdown_table

FORMATS = {"tflite_int8": "LiteRT", "onnx_int8": "onnxruntime"}
ROWS = {
    "int8 after training": FLOAT,
    "quantization-aware, no teacher": ALONE,
    "quantization-aware, KD": KD,
    "quantization-aware, KD + DiffKD (features)": DIFFKD,
}


def report(records):
    """Returns the section of docs/results.md.

    Args:
        records: List of records.
    """
    parts = [
        "Fashion-MNIST, all images labeled. Each float student trained for "
        f"{FIRST[0]:,} steps of {BATCH_SIZE} images; then all rows of a seed went on "
        f"from it for {FURTHER[0]} steps, with the same order of images and learning "
        "rate. The accuracies, in percent on the 10,000 test images, are those of the "
        "files in their runtimes. Means and standard deviations over the seeds that "
        "finished in all rows; differences are those within a seed. Nothing was tuned."
    ]
    for student in NETWORKS:
        chosen = [record for record in records if record["student"] == student]
        found = table(chosen)
        if found:
            parts += [f"**{student}** ({chosen[0]['parameters']:,} weights)", found]
    parts.append(agreement(records))
    parts.append(f"{records[0]['machine']}; `python benchmarks/quantization_aware.py`.")
    return "\n\n".join(part for part in parts if part)


def table(records):
    """Returns the table of one student as Markdown, or "" before a seed is complete."""
    by_arm = {arm: {} for arm in ROWS.values()}
    for record in records:
        by_arm[record["arm"]][record["seed"]] = record
    seeds = sorted(set.intersection(*(set(found) for found in by_arm.values())))
    if not seeds:
        return ""
    exact = [100 * by_arm[FLOAT][seed]["keras"] for seed in seeds]
    rows = [["float", str(len(seeds)), _spread(exact), "", _spread(exact), ""]]
    for title, arm in ROWS.items():
        row = [title, str(len(seeds))]
        for name in FORMATS:
            values = [100 * by_arm[arm][seed][name]["accuracy"] for seed in seeds]
            lost = [value - one for value, one in zip(values, exact, strict=True)]
            row += [_spread(values), _spread(lost, "+.2f")]
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
    agree = [100 * one["agreement"] for one in found]
    return (
        f"Files and simulation, over {len(found)} files of quantization-aware "
        f"students: in the worst file logits differ by {mean:.3f} int8 steps on "
        f"average, by {largest:.0f} at most, and the class is the same for "
        f"{min(agree):.2f}% of the test images ({statistics.mean(agree):.2f}% on "
        "average over the files)."
    )


def _spread(values, form=".2f"):
    text = f"{statistics.mean(values):{form}}"
    return f"{text} ± {statistics.stdev(values):.2f}" if len(values) > 1 else text
