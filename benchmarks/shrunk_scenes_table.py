"""The tables of `shrunk_scenes.py`."""

from typing import NamedTuple

import numpy as np
from comparison import ALONE
from report import machines_of, markdown_table

KD_1 = "KD, temperature 1"
AT_ONCE, DIFFKD_BALANCED = "DiffKD at once", "DiffKD, balanced"
TITLES = {"KD": "KD, temperature 4"}


class SceneTask(NamedTuple):
    """A task on digit scenes: experiment, metric, the zoo's student, and methods."""

    experiment: str
    metric: str
    title: str
    zoo: str
    classes: int
    methods: tuple[str, ...]


TASKS = {
    "segmentation": SceneTask(
        "digit_scenes_deeplabv3",
        "val_mean_iou",
        "mIoU",
        "deeplabv3_scenes_student",
        11,
        (ALONE, "KD", KD_1, "DiffKD", AT_ONCE, DIFFKD_BALANCED),
    ),
    # It has no class scores of whole images.
    "detection": SceneTask(
        "digit_scenes_retinanet",
        "val_mAP",
        "mAP",
        "retinanet_scenes_student",
        10,
        (ALONE, "DiffKD", AT_ONCE, DIFFKD_BALANCED),
    ),
}


def report(records):
    """Returns the tables as Markdown.

    Args:
        records: List of dicts, the lines of `benchmarks/runs/shrunk_scenes.jsonl`.
    """
    parts = [
        "Digit scenes (4,000 to train, 512 to test). Teachers train for four epochs, "
        "as in their experiment files, and students for two: inherited weights have "
        "seen the teacher's epochs, too. Each seed has its own teacher. Means and "
        "standard deviations, in percent on the test images, over the seeds that "
        "finished with all methods of a row; differences are within a seed, with the "
        "number of seeds. With inherited weights, DiffKD's own layers train for an "
        "epoch before the student; DiffKD at once: without it. The methods' losses "
        "have weight 1, or balanced weights where it says so; KD has temperature 4 or "
        "1. The models of the zoo are made by hand."
    ]
    for name, task in TASKS.items():
        found = by_model(record for record in records if record["task"] == name)
        measured = {method for models in found.values() for method in models}
        task = task._replace(methods=[m for m in task.methods if m in measured])
        parts += [
            f"**{name.capitalize()}**, {task.title} (`{task.experiment}.flags`)",
            _values(found, task),
            f"Inherited minus new weights, {task.title}; in the last column, inherited "
            "weights after one epoch and new ones after two:",
            _inherited_over_new(found, task),
            f"Method minus student alone, {task.title}:",
            _methods_over_alone(found, task),
        ]
    command = "`python benchmarks/shrunk_scenes.py`"
    return "\n\n".join([*parts, f"{machines_of(records)}; {command}."])


def by_model(records):
    """Returns dicts by `(width, weights)` and method from seed to record.

    Teachers come first, then students from the widest on, then those of the zoo.
    """
    found = {}
    for record in records:
        models = found.setdefault((record["width"], record["weights"]), {})
        models.setdefault(record["method"], {})[record["seed"]] = record

    def place(model):
        width, weights = model
        return (weights != "teacher", -(width or 0.0), weights)

    return {model: found[model] for model in sorted(found, key=place)}


def _values(found, task):
    rows = []
    for (width, weights), methods in found.items():
        # A teacher has no method.
        seeds = _common_seeds(methods.values())
        one = next(iter(next(iter(methods.values())).values()))
        means = [
            _mean([100 * methods[method][seed]["accuracy"] for seed in seeds])
            if method in methods
            else ""
            for method in (("",) if "" in methods else task.methods)
        ]
        rows.append(
            [
                _width(width),
                f"{one['parameters']:,}",
                f"{one['multiply_adds'] / 1e6:.1f}",
                weights.replace("of the zoo", f"`{task.zoo}`"),
                str(len(seeds)),
                *means,
                *[""] * (len(task.methods) - len(means)),
            ]
        )
    header = ["width", "parameters", "millions of multiply-adds", "weights", "seeds"]
    return markdown_table([*header, *titles(task.methods)], rows)


def _inherited_over_new(found, task):
    with_new = {
        method for (_, start), row in found.items() if start == "new" for method in row
    }
    task = task._replace(methods=[m for m in task.methods if m in with_new])
    rows = []
    for (width, weights), inherited in found.items():
        new = found.get((width, "new"))
        if weights != "inherited" or new is None:
            continue
        pairs = [
            (inherited.get(method, {}), new.get(method, {})) for method in task.methods
        ]
        cells = [_gain(*pair) for pair in pairs]
        early = {
            seed: {"accuracy": record["curve"][0]}
            for seed, record in pairs[0][0].items()
        }
        rows.append([_width(width), *cells, _gain(early, pairs[0][1])])
    header = ["width", *titles(task.methods), "alone, after one epoch"]
    return markdown_table(header, rows)


def _methods_over_alone(found, task):
    rows = []
    for (width, weights), methods in found.items():
        if ALONE not in methods:
            continue
        cells = [
            _gain(methods.get(method, {}), methods[ALONE])
            for method in task.methods[1:]
        ]
        title = weights.replace("of the zoo", f"`{task.zoo}`")
        rows.append([_width(width), title, *cells])
    return markdown_table(["width", "weights", *titles(task.methods[1:])], rows)


def titles(methods):
    """Returns the titles of the columns of methods."""
    return [TITLES.get(method, method) for method in methods]


def _gain(records, others):
    """Returns the mean difference within a seed, in points, and how many seeds."""
    gains = [
        100 * (records[seed]["accuracy"] - others[seed]["accuracy"])
        for seed in _common_seeds((records, others))
    ]
    return f"{_mean(gains, '+')} ({len(gains)})" if gains else ""


def _common_seeds(dicts):
    return sorted(set.intersection(*map(set, dicts)))


def _width(width):
    return "" if width is None else f"{width:g}"


def _mean(values, sign=""):
    spread = f" ± {np.std(values, ddof=1):.1f}" if len(values) > 1 else ""
    return f"{np.mean(values):{sign}.1f}{spread}" if values else ""
