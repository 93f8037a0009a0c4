"""Students of `shrunk_students.py`: what is trained, how, and the table of it."""

import statistics
import time
from pathlib import Path
from typing import NamedTuple

import keras
from comparison import ALONE
from digits_methods import BALANCED, KD_FEATURES
from fashion_methods import METHODS
from fashion_runs import LEARNING_RATES, Regime
from fashion_training import (
    fit,
    judge,
    load_data,
    stored_distiller,
)
from report import describe_machine, markdown_table, revision

from keras_diffkd import shrink
from keras_diffkd.models import build_model
from keras_diffkd.models.fashion import fashion_net

TEACHER = Path(__file__).parent / "runs" / "fashion" / "teacher.weights.h5"
KD = "KD"
COMPARED = (ALONE, KD, KD_FEATURES)
NEW, INHERITED, BY_HAND = "new", "inherited", "by hand"
STARTS = (INHERITED, NEW, BY_HAND)
# From shares of the channels to the widths of hand-made students of about the same
# multiply-adds: one block instead of two, as in `fashion_student`, which is the first.
HAND_MADE = {0.25: (8, 16, 32), 0.5: (12, 24, 48), 0.75: (20, 40, 80)}
WIDTHS = (0.5, 0.25, 0.75)
GAINS = (
    "Points by which inherited weights end higher in the same seed: mean ± standard "
    "deviation, and the number of seeds."
)


class Task(NamedTuple):
    """One student to train; the names are those of the tasks of `fashion_runs`."""

    width: float
    start: str
    method: str
    seed: int
    epochs: int
    stage: str = "report"
    optimizer: str = "sgd"
    weight: str = BALANCED
    learning_rate: float = LEARNING_RATES["sgd"]


def tasks(seeds, epochs):
    """Returns all tasks, seed by seed."""
    return [
        Task(width, start, method, seed, epochs)
        for seed in range(seeds)
        for method in COMPARED
        for width in WIDTHS
        for start in STARTS
    ]


def task_of(record):
    """Returns the `Task` of a record."""
    return Task(*(record[field] for field in Task._fields))


def make_student(task):
    """Returns the student of a task, as it starts."""
    keras.utils.set_random_seed(task.seed)
    if task.start == BY_HAND:
        return fashion_net(
            (28, 28, 1),
            10,
            widths=HAND_MADE[task.width],
            blocks_per_stage=1,
            name="student",
        )
    teacher = build_model("fashion_teacher", (28, 28, 1), 10)
    teacher.load_weights(TEACHER)
    student = shrink(teacher, task.width)
    return keras.models.clone_model(student) if task.start == NEW else student


def train_student(task, files):
    """Trains one student, and returns the record of a JSON line."""
    data = load_data(files)
    start, busy = time.perf_counter(), time.process_time()
    keras.utils.clear_session()
    student = make_student(task)
    methods = METHODS[task.method](task.weight)
    distiller = stored_distiller(student, methods, data)
    curve = [judge(student, *data.test)]
    judging = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: curve.append(judge(student, *data.test))
    )
    regime = Regime("", 500, task.epochs)
    fit(distiller, task, data, regime, [judging])
    return {
        **task._asdict(),
        "parameters": student.count_params(),
        "accuracy": curve[-1],
        "curve": curve,
        "seconds": round(time.perf_counter() - start, 1),
        "processor_seconds": round(time.process_time() - busy, 1),
        "revision": revision(),
        "machine": describe_machine(),
    }


def epochs_to(curve, accuracy):
    """Returns the first epoch that reaches an accuracy, or `None`."""
    reached = [epoch for epoch, value in enumerate(curve) if value >= accuracy]
    return reached[0] if reached else None


def costs():
    """Returns a dict from `(width, start)` to the multiply-adds of a student."""
    found = {}
    for width in WIDTHS:
        for start in STARTS:
            student = make_student(Task(width, start, ALONE, 0, 0))
            _, report = shrink(student, 1, return_report=True)
            found[width, start] = report.multiply_adds[1]
    return found


def table(records, multiply_adds):
    """Returns the tables of finished students as Markdown.

    Args:
        records: List of records.
        multiply_adds: Dict of `costs`.
    """
    rows = []
    for width in sorted(WIDTHS, reverse=True):
        for start in STARTS:
            cost = f"{multiply_adds[width, start] / 1e6:.2f}"
            for method in COMPARED:
                chosen = _chosen(records, width, start, method)
                if chosen:
                    rows.append(_row(width, start, cost, method, chosen, records))
    header = ["width", "parameters", "millions of multiply-adds", "weights", "method"]
    header += ["seeds", "before training", "test accuracy"]
    header += ["epochs to the end of new weights"]
    pairs = [
        [
            f"{width:g}",
            method,
            *(_paired(records, width, method, other) for other in (NEW, BY_HAND)),
        ]
        for width in sorted(WIDTHS, reverse=True)
        for method in COMPARED
    ]
    gains = markdown_table(
        ["width", "method", "inherited minus new", "inherited minus by hand"], pairs
    )
    return f"{markdown_table(header, rows)}\n\n{GAINS}\n\n{gains}"


def _chosen(records, width, start, method):
    wanted = (width, start, method)
    return [
        each
        for each in records
        if (each["width"], each["start"], each["method"]) == wanted
    ]


def _row(width, start, cost, method, chosen, records):
    accuracies = [100 * record["accuracy"] for record in chosen]
    return [
        f"{width:g}",
        f"{chosen[0]['parameters']:,}",
        cost,
        start,
        method,
        str(len(chosen)),
        f"{statistics.mean(100 * record['curve'][0] for record in chosen):.1f}",
        _mean(accuracies, ".1f"),
        _epochs(chosen, records) if start == INHERITED else "",
    ]


def _paired(records, width, method, other):
    """Returns by how many points inherited weights end higher, seed by seed."""
    first, second = (
        {each["seed"]: each["accuracy"] for each in found}
        for found in (
            _chosen(records, width, start, method) for start in (INHERITED, other)
        )
    )
    seeds = sorted(first.keys() & second.keys())
    if not seeds:
        return ""
    gains = [100 * (first[seed] - second[seed]) for seed in seeds]
    return f"{_mean(gains, '+.1f')} ({len(seeds)})"


def _mean(values, form):
    spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):{form}}{spread}"


def _epochs(chosen, records):
    """Returns the epochs that inherited weights need for what new ones end with."""
    found = []
    for record in chosen:
        for other in records:
            same = all(record[key] == other[key] for key in ("width", "method", "seed"))
            if same and other["start"] == NEW:
                found.append(epochs_to(record["curve"], other["accuracy"]))
    if not found or None in found:
        return "not reached" if found else ""
    return f"{statistics.mean(found):.1f} of {len(chosen[0]['curve']) - 1}"
