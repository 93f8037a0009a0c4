"""The tasks of `fashion.py`: what is trained, in which order, and what is done."""

import dataclasses
from typing import NamedTuple

import numpy as np
from comparison import ALONE
from fashion_methods import (
    MAIN,
    METHODS,
    SAME_WEIGHT_METHODS,
    SAME_WEIGHTS,
    VARIANTS,
)


@dataclasses.dataclass(frozen=True)
class Regime:
    """Which of the training images have labels, and how long students train.

    Args:
        title: Text for the tables.
        per_class: Integer, labeled images of each class; `None`: all images.
        epochs: Integer.
        unlabeled: Whether all other images take part without labels.
        steps_per_epoch: Integer, or `None` for one pass over the labeled images.
    """

    title: str
    per_class: int | None
    epochs: int
    unlabeled: bool = False
    steps_per_epoch: int | None = None


REGIMES = {
    "few": Regime("5,000 labeled images, 25 epochs", 500, 25),
    "all": Regime("All images labeled, 8 epochs", None, 8),
    # As many steps as with all labels: the labeled images 24 times.
    "unlabeled": Regime(
        "5,000 labeled images, all others unlabeled, 8 epochs of 468 batches",
        500,
        8,
        unlabeled=True,
        steps_per_epoch=468,
    ),
}
STAGES = ("tune", "report", "ablations")
# Widths of the stages of students with one block in each.
STUDENTS = {"20k": (8, 16, 32), "5k": (4, 8, 16)}
LEARNING_RATES = {"sgd": 0.05, "adamw": 4e-3}
# Five settings for every method: the weight, or for the student alone the rate.
TUNED_WEIGHTS = (0.3, 1.0, 3.0, 10.0, 30.0)
TUNED_RATES = {
    "sgd": (0.01, 0.02, 0.05, 0.1, 0.2),
    "adamw": (1e-3, 2e-3, 4e-3, 8e-3, 1.6e-2),
}
TUNING_SEEDS = (1000, 1001)
# How a weight is chosen; the other choice is a number.
TUNED = "tuned"


class Task(NamedTuple):
    """One student to train. `weight` is a number, "balanced", or 0 for the baseline."""

    stage: str
    regime: str
    student: str
    optimizer: str
    method: str
    weight: float | str
    learning_rate: float
    seed: int


class Cell(NamedTuple):
    """One table: what all methods have in common."""

    regime: str
    student: str
    optimizer: str

    @property
    def learning_rate(self):
        return LEARNING_RATES[self.optimizer]


def settings(cell, method):
    """Returns the `(weight, learning rate)`s that a method is tuned over."""
    if method == ALONE:
        return [(0.0, rate) for rate in TUNED_RATES[cell.optimizer]]
    return [(weight, cell.learning_rate) for weight in TUNED_WEIGHTS]


def tuning_tasks(cell, methods):
    """Returns the tasks of the stage `tune`."""
    return [
        Task("tune", *cell, method, *setting, seed)
        for method in methods
        for setting in settings(cell, method)
        for seed in TUNING_SEEDS
    ]


def tuned(records, cell, method):
    """Returns the best `(weight, learning rate)` on the held-out images.

    Args:
        records: Dict from `Task` to record.
        cell: A `Cell`.
        method: Name of a method.

    Returns:
        The setting, the first of equal ones; `None` if the tuning has not ended.
    """
    best, mean = None, -1.0
    for setting in settings(cell, method):
        tasks = [Task("tune", *cell, method, *setting, seed) for seed in TUNING_SEEDS]
        if not all(task in records for task in tasks):
            return None
        found = np.mean([records[task]["accuracy"] for task in tasks])
        if found > mean:
            best, mean = setting, found
    return best


def chosen_setting(records, cell, method, choice):
    """Returns `(weight, learning rate)` of a method, or `None` if it is not known yet.

    Args:
        records: Dict from `Task` to record.
        cell: A `Cell`.
        method: Name of a method.
        choice: `"tuned"`, `"balanced"` or a number. For the student alone, all but
            `"tuned"` mean the common learning rate.
    """
    if choice == TUNED:
        return tuned(records, cell, method)
    return (0.0 if method == ALONE else choice), cell.learning_rate


def report_tasks(records, cell, methods, choices, seeds):
    """Returns the tasks of the stage `report`, seed by seed over all methods."""
    return [
        Task("report", *cell, method, *setting, seed)
        for seed in range(seeds)
        for choice in choices
        for method in methods
        if (setting := chosen_setting(records, cell, method, choice)) is not None
    ]


def ablation_tasks(records, cell, methods, seeds):
    """Returns the tasks of the ablations of methods, seed by seed, as reported ones."""
    chosen = [
        (method, weight, cell.learning_rate)
        for weight in SAME_WEIGHTS
        for method in SAME_WEIGHT_METHODS
        if method in methods
    ]
    for name, (_, parent) in VARIANTS.items():
        if parent is None and "KDiffusion" in methods:
            chosen.append((name, 0.0, cell.learning_rate))
        elif parent in methods and (setting := tuned(records, cell, parent)):
            chosen.append((name, *setting))
    return [
        Task("report", *cell, *setting, seed)
        for seed in range(seeds)
        for setting in chosen
    ]


def train_cell(train, records, cell, stages, methods, choices, seeds):
    """Does the stages of one table, the most important methods first.

    Args:
        train: Function that does a list of tasks, and adds their records to `records`.
        records: Dict from `Task` to record.
        cell: A `Cell`.
        stages: Some of `STAGES`.
        methods: Names of methods.
        choices: List of "tuned", "balanced" and numbers: weights to report.
        seeds: Integer.
    """
    for group in (MAIN, [method for method in METHODS if method not in MAIN]):
        chosen = [method for method in group if method in methods]
        if "tune" in stages:
            train(tuning_tasks(cell, chosen))
        if "report" in stages:
            train(report_tasks(records, cell, chosen, choices, seeds))
    if "ablations" in stages:
        train(ablation_tasks(records, cell, methods, seeds))


def cell_file(folder, cell):
    """Returns the path of the JSON lines of a cell."""
    return folder / f"{'_'.join(cell)}.jsonl"


def task_of(record, teacher, epochs):
    """Returns the `Task` of a record, or `None` if it is not of this benchmark.

    Args:
        record: Dict, from a JSON line.
        teacher: Fingerprint of the teacher's weights.
        epochs: Integer.
    """
    if (record["teacher"], record["epochs"]) != (teacher, epochs):
        return None
    return Task(*(record[field] for field in Task._fields))
