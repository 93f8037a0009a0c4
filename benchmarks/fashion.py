"""Compares all methods on Fashion-MNIST; it may be interrupted at any time.

    python benchmarks/fashion.py --data_dir=FOLDER --workers=1
    python benchmarks/fashion_tables.py

The first command trains and the second one writes docs/results.md. Every finished
student is a line in `benchmarks/runs/fashion`, and the same command resumes after an
interruption. `FOLDER` has the four IDX files of Fashion-MNIST, for example those of
Debian's package `dataset-fashion-mnist`. The most important students come first:

1. of each method, the stage `tune`: five weights (of the student alone: five learning
   rates) with two seeds each, judged on the last twelfth of the training images, which
   neither these students nor the teacher train on;
2. the stage `report`: with the weights of `--weights`, seed by seed over all methods,
   judged on the test images. Nothing is chosen by them;
3. the stage `ablations`, the same with variants of the methods.

All of it for each optimizer, regime and size of the student. All students with the same
seed begin with the same weights and see the same images in the same order.
"""

import dataclasses
import functools
import itertools
import os
from pathlib import Path

# Before TensorFlow is imported, here and in the worker processes.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from absl import app, flags
from digits_methods import BALANCED
from fashion_data import FashionData, train_new_teacher
from fashion_methods import METHODS
from fashion_runs import (
    LEARNING_RATES,
    REGIMES,
    STAGES,
    STUDENTS,
    TUNED,
    Cell,
    cell_file,
    task_of,
    train_cell,
)
from fashion_training import Files, begin_process, train_student
from finished_runs import FinishedRuns

RUNS = Path(__file__).parent / "runs" / "fashion"

flags.DEFINE_string("data_dir", None, "Folder of IDX files.", required=True)
flags.DEFINE_string("runs", str(RUNS), "Folder of finished runs and of the teacher.")
flags.DEFINE_string("cache", "runs/fashion", "Folder of the teacher's outputs.")
flags.DEFINE_multi_enum("stage", STAGES, STAGES, "Stages to do; repeat the flag.")
flags.DEFINE_multi_enum("regime", list(REGIMES), list(REGIMES), "The same for regimes.")
flags.DEFINE_multi_enum("student", list(STUDENTS), list(STUDENTS), "For students.")
flags.DEFINE_multi_enum(
    "optimizer", list(LEARNING_RATES), list(LEARNING_RATES), "For optimizers."
)
flags.DEFINE_multi_enum("method", list(METHODS), list(METHODS), "For methods.")
flags.DEFINE_list("weights", f"{TUNED},1", '"tuned", "balanced" and numbers.')
flags.DEFINE_integer("seeds", 10, "Seeds of the stages report and ablations.")
flags.DEFINE_integer("teacher_epochs", 12, "Epochs of the teacher, if it is missing.")
flags.DEFINE_integer("workers", os.cpu_count(), "Processes, one thread each.")


def read_choice(text):
    """Returns a choice of weights: text, or a number."""
    return text if text in (TUNED, BALANCED) else float(text)


def main(argv):
    """Trains what is missing, cell by cell."""
    if argv[1:]:
        raise app.UsageError(f"Unknown arguments. Received: {argv[1:]}")
    options = flags.FLAGS
    folder = Path(options.runs)
    files = Files(
        Path(options.data_dir), folder / "teacher.weights.h5", Path(options.cache)
    )
    if not files.teacher.exists():
        train_new_teacher(files.data_dir, folder, options.teacher_epochs)
    fingerprint = FashionData(*dataclasses.astuple(files)).teacher.fingerprint
    for student, name, optimizer in itertools.product(
        options.student, options.regime, options.optimizer
    ):
        cell, regime = Cell(name, student, optimizer), REGIMES[name]
        print(*cell, flush=True)
        runs = FinishedRuns(
            cell_file(folder, cell),
            functools.partial(task_of, teacher=fingerprint, epochs=regime.epochs),
        )
        train = functools.partial(
            runs.run,
            functools.partial(train_student, files=files, regime=regime),
            workers=options.workers,
            initializer=begin_process,
            kind=lambda task: task.method,
        )
        choices = [read_choice(text) for text in options.weights]
        train_cell(
            train,
            runs.records,
            cell,
            options.stage,
            options.method,
            choices,
            options.seeds,
        )


if __name__ == "__main__":
    app.run(main)
