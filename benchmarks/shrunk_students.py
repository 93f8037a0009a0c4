"""What the teacher's weights are worth to a student made out of it.

    python benchmarks/shrunk_students.py --data_dir=FOLDER --workers=1
    python benchmarks/shrunk_students.py --table

The first command trains on 5,000 labeled images of Fashion-MNIST and can be interrupted
at any time: each finished student is a line in `benchmarks/runs/shrunk_students.jsonl`.
`FOLDER` is that of benchmarks/fashion.py, whose teacher it takes. The second command
writes the table into docs/shrinking.md.

Students are the teacher with a share of its channels, chosen by `shrink`. They start
from new weights or from the teacher's, and train alone, with KD, or with KD and DiffKD
on features, all of balanced weights and the same learning rate. Each is judged on the
test images after each epoch; nothing is chosen by that.
"""

import functools
import os
import statistics
import time
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
from absl import app, flags
from fashion_methods import BALANCED, KD_FEATURES, METHODS
from fashion_runs import LEARNING_RATES, Regime
from fashion_training import (
    Files,
    begin_process,
    fit,
    judge,
    load_data,
    revision,
    taps_of,
)
from finished_runs import FinishedRuns, read_lines
from report import describe_machine, markdown_table, write_section

from keras_diffkd import Distiller, shrink
from keras_diffkd.models import build_model
from keras_diffkd.models.fashion import fashion_net

HERE = Path(__file__).parent
RUNS = HERE / "runs" / "shrunk_students.jsonl"
TEACHER = HERE / "runs" / "fashion" / "teacher.weights.h5"
PAGE = HERE.parent / "docs" / "shrinking.md"
TITLE = "What the teacher's weights are worth"
BASELINE, KD = "student alone", "KD"
COMPARED = (BASELINE, KD, KD_FEATURES)
NEW, INHERITED, BY_HAND = "new", "inherited", "by hand"
WIDTHS = (0.5, 0.25, 0.75)
# Of the student that benchmarks/fashion.py trains: one block instead of two.
HAND_MADE = (8, 16, 32)

flags.DEFINE_string("data_dir", None, "Folder of IDX files.")
flags.DEFINE_string("runs", str(RUNS), "File of finished students.")
flags.DEFINE_string("cache", "runs/fashion", "Folder of the teacher's outputs.")
flags.DEFINE_integer("seeds", 5, "Seeds.")
flags.DEFINE_integer("epochs", 10, "Epochs.")
flags.DEFINE_integer("workers", 1, "Processes, one thread each.")
flags.DEFINE_boolean("table", False, "Write the table instead.")


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
        for width, start in (
            *((width, start) for width in WIDTHS for start in (INHERITED, NEW)),
            (0.0, BY_HAND),
        )
    ]


def task_of(record):
    """Returns the `Task` of a record."""
    return Task(*(record[field] for field in Task._fields))


def make_student(task):
    """Returns the student of a task, as it starts."""
    keras.utils.set_random_seed(task.seed)
    if task.start == BY_HAND:
        return fashion_net(
            (28, 28, 1), 10, widths=HAND_MADE, blocks_per_stage=1, name="student"
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


def main(argv):
    """Trains what is missing, or writes the table."""
    del argv
    options = flags.FLAGS
    if options.table:
        records = read_lines(Path(options.runs))
        text = (
            "5,000 labeled images of Fashion-MNIST, `fashion_teacher`, the same "
            "learning rate for all, balanced weights. Means and standard deviations "
            "over the seeds that finished; accuracies in percent on the test images. "
            "The last column: after how many epochs inherited weights are as good as "
            "new ones at the end."
            f"\n\n{table(records)}\n\n{records[0]['machine']}; "
            "`python benchmarks/shrunk_students.py`."
        )
        print(text)
        write_section(PAGE, TITLE, text)
        return
    files = Files(Path(options.data_dir), TEACHER, Path(options.cache))
    runs = FinishedRuns(Path(options.runs), task_of)
    runs.run(
        functools.partial(train_student, files=files),
        tasks(options.seeds, options.epochs),
        workers=options.workers,
        initializer=begin_process,
        kind=lambda task: task.method,
    )


if __name__ == "__main__":
    app.run(main)
