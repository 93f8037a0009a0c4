"""Students of `shrunk_students.py`: what is trained, how, and the table of it."""

import statistics
import time
from pathlib import Path
from typing import NamedTuple

import keras
from fashion_methods import BALANCED, KD_FEATURES, METHODS
from fashion_runs import LEARNING_RATES, Regime
from fashion_training import (
    fit,
    judge,
    load_data,
    revision,
    taps_of,
)
from report import describe_machine, markdown_table

from keras_diffkd import Distiller, shrink
from keras_diffkd.models import build_model
from keras_diffkd.models.fashion import fashion_net

TEACHER = Path(__file__).parent / "runs" / "fashion" / "teacher.weights.h5"
BASELINE, KD = "student alone", "KD"
COMPARED = (BASELINE, KD, KD_FEATURES)
NEW, INHERITED, BY_HAND = "new", "inherited", "by hand"
STARTS = (INHERITED, NEW, BY_HAND)
# From shares of the channels to the widths of hand-made students of about the same
# multiply-adds: one block instead of two, as in `fashion_student`, which is the first.
HAND_MADE = {0.25: (8, 16, 32), 0.5: (12, 24, 48), 0.75: (20, 40, 80)}
WIDTHS = (0.5, 0.25, 0.75)


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
    teacher = data.teacher.model(taps_of(methods))
    names = [tensor.name for tensor in teacher.inputs]
    distiller = Distiller(
        teacher,
        student,
        methods,
        teacher_preprocess=lambda batch: {name: batch[name] for name in names},
    )
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


def table(records):
    """Returns the table of finished students as Markdown.

    Args:
        records: List of records.
    """
    rows = []
    for width, start in (
        *((w, s) for w in sorted(WIDTHS, reverse=True) for s in (INHERITED, NEW)),
        (0.0, BY_HAND),
    ):
        for method in COMPARED:
            chosen = [
                record
                for record in records
                if (record["width"], record["start"], record["method"])
                == (width, start, method)
            ]
            if chosen:
                rows.append(_row(width, start, method, chosen, records))
    header = ["width", "parameters", "weights", "method", "seeds", "before training"]
    header += ["test accuracy", "epochs to the end of new weights"]
    return markdown_table(header, rows)


def _row(width, start, method, chosen, records):
    accuracies = [100 * record["accuracy"] for record in chosen]
    spread = f" ± {statistics.stdev(accuracies):.1f}" if len(chosen) > 1 else ""
    return [
        f"{width:g}" if width else "by hand",
        f"{chosen[0]['parameters']:,}",
        start if width else NEW,
        method,
        str(len(chosen)),
        f"{statistics.mean(100 * record['curve'][0] for record in chosen):.1f}",
        f"{statistics.mean(accuracies):.1f}{spread}",
        _epochs(chosen, records) if start == INHERITED else "",
    ]


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
