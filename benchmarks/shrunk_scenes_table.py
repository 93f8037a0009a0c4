"""The tables of `shrunk_scenes.py`."""

from typing import NamedTuple

import numpy as np
from report import markdown_table


class SceneTask(NamedTuple):
    """A task on digit scenes: experiment, metric with title, and the zoo's student."""

    experiment: str
    metric: str
    title: str
    zoo: str
    classes: int


TASKS = {
    "segmentation": SceneTask(
        "digit_scenes_deeplabv3",
        "val_mean_iou",
        "mIoU",
        "deeplabv3_scenes_student",
        11,
    ),
    "detection": SceneTask(
        "digit_scenes_retinanet", "val_mAP", "mAP", "retinanet_scenes_student", 10
    ),
}
HEADER = ["parameters", "millions of multiply-adds", "weights", "method", "seeds"]


def report(records):
    """Returns the tables as Markdown.

    Args:
        records: List of dicts, the lines of `benchmarks/runs/shrunk_scenes.jsonl`.
    """
    parts = [
        "Digit scenes (4,000 to train, 512 to test), students of half their teacher's "
        "width. Teachers train for four epochs, as in their experiment files, and "
        "students for two: inherited weights have seen the teacher's epochs, too. Each "
        "seed has its own teacher. Means and standard deviations, in percent on the "
        "test images; differences are within a seed. The hand-made models of the zoo "
        "cost more than twice as much."
    ]
    for name, task in TASKS.items():
        found = [record for record in records if record["task"] == name]
        parts += [
            f"**{name.capitalize()}**, {task.title} (`{task.experiment}.flags`)",
            _table(found, task),
            _differences(found),
        ]
    command = "`python benchmarks/shrunk_scenes.py`"
    return "\n\n".join([*parts, f"{records[0]['machine']}; {command}."])


def _table(records, task):
    groups = {}
    for record in records:
        groups.setdefault((record["weights"], record["method"]), []).append(record)
    rows = [
        [
            f"{found[0]['parameters']:,}",
            f"{found[0]['multiply_adds'] / 1e6:.1f}",
            weights.replace("of the zoo", f"`{task.zoo}`"),
            method,
            str(len(found)),
            _mean([100 * record["accuracy"] for record in found]),
        ]
        for (weights, method), found in groups.items()
    ]
    return markdown_table([*HEADER, task.title], rows)


def _differences(records):
    """Returns sentences about inherited weights and about DiffKD."""
    values = {
        (record["weights"], record["method"], record["seed"]): record["accuracy"]
        for record in records
    }
    lines = []
    for title, first, second in (
        (
            "Inherited over new weights, students alone",
            ("inherited", "student alone"),
            ("new", "student alone"),
        ),
        (
            "DiffKD over the student alone, inherited weights",
            ("inherited", "DiffKD"),
            ("inherited", "student alone"),
        ),
        (
            "the same, new weights",
            ("new", "DiffKD"),
            ("new", "student alone"),
        ),
    ):
        gains = [
            100 * (value - values[*second, seed])
            for (*model, seed), value in values.items()
            if tuple(model) == first and (*second, seed) in values
        ]
        if gains:
            lines.append(f"{title}: {_mean(gains, '+')} ({len(gains)})")
    return "; ".join(lines) + "."


def _mean(values, sign=""):
    spread = f" ± {np.std(values, ddof=1):.1f}" if len(values) > 1 else ""
    return f"{np.mean(values):{sign}.1f}{spread}"
