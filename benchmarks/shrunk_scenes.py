"""Segmenters and detectors that are made out of their teachers, on digit scenes.

    python benchmarks/shrunk_scenes.py --data_dir=FOLDER
    python benchmarks/shrunk_scenes.py --table

The first command runs those of the package, so that what is measured is what a user
gets: for each seed a teacher, with the settings of its experiment file, and students of
three widths, from the teacher's weights and from new ones, alone, with KD (segmenters)
and with DiffKD on features; and the zoo's student. Where the teacher's weights are the
first ones, DiffKD's own layers train for an epoch before. It can be interrupted at any
time: each finished model is a line in `benchmarks/runs/shrunk_scenes.jsonl`. The second
command writes the tables into docs/shrinking.md.
"""

import functools
import math
import os
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
from absl import app, flags
from comparison import ALONE
from finished_runs import FinishedRuns
from report import describe_machine, revision, write_report
from scene_commands import (
    balanced_weights,
    command,
    read_metrics,
    train_teacher,
)
from shrunk_scenes_table import AT_ONCE, DIFFKD_BALANCED, KD_1, TASKS, report

from keras_diffkd import shrink
from keras_diffkd.models import load_model

HERE = Path(__file__).parent
RUNS = HERE / "runs" / "shrunk_scenes.jsonl"
PAGE = HERE.parent / "docs" / "shrinking.md"
TITLE = "Segmenters and detectors"
WIDTHS = (0.5, 0.75, 0.25)
DIFFKD = ["--method=diffkd_features", "--distill_weight=1"]
METHODS = {
    ALONE: ["--method=none"],
    "KD": ["--method=kd", "--temperature=4", "--distill_weight=1"],
    KD_1: ["--method=kd", "--temperature=1", "--distill_weight=1"],
    "DiffKD": DIFFKD,
    # Without an epoch of its own layers, which students from the teacher have.
    AT_ONCE: [*DIFFKD, "--method_epochs=0"],
    DIFFKD_BALANCED: ["--method=diffkd_features", "--distill_weight=balanced"],
}
INHERITED, NEW, ZOO = "inherited", "new", "new, of the zoo"

flags.DEFINE_integer("seeds", 5, "Seeds, of teachers and students.")
flags.DEFINE_multi_enum("task", list(TASKS), list(TASKS), "Tasks; repeat the flag.")
flags.DEFINE_integer("epochs", 2, "Epochs of the students.")
flags.DEFINE_string("data_dir", "data", "TFDS data folder.")
flags.DEFINE_string(
    "folder", "runs/shrunk_scenes", "Folder of the models, which resume."
)
flags.DEFINE_string("runs", str(RUNS), "File of finished models.")
flags.DEFINE_boolean("table", False, "Write the tables instead.")


class Task(NamedTuple):
    """One model to train; neither teachers nor models of the zoo have a width."""

    task: str
    width: float | None
    weights: str
    method: str
    seed: int


def tasks(names, seeds):
    """Lists the models to train for the named tasks, seed by seed for each width."""
    groups = [
        [(None, "teacher", "")],
        *(
            [
                (width, start, method)
                for start in (INHERITED, NEW)
                for method in METHODS
                if method != DIFFKD_BALANCED
                and (method != AT_ONCE or (width, start) == (WIDTHS[0], INHERITED))
            ]
            for width in WIDTHS
        ),
        [(None, ZOO, method) for method in (ALONE, "DiffKD", DIFFKD_BALANCED)],
    ]
    return [
        Task(name, *model, seed)
        for models in groups
        for seed in range(seeds)
        for name in names
        for model in models
        if model[-1] in ("", *TASKS[name].methods)
    ]


def train(task, folder, data_dir, epochs):
    """Trains one model, and returns the record of a line."""
    experiment = TASKS[task.task].experiment
    root = folder / f"{task.task}_{task.seed}"
    path = train_teacher(experiment, root, task.seed, data_dir)
    if task.weights == "teacher":
        return record(task, load_model(str(path)), root / "teacher" / "teacher")
    keras.utils.set_random_seed(task.seed)
    spec, model = student_of(task, path)
    model_name = f"{task.weights} {task.width or ''} {task.method}"
    run = root / model_name.replace(",", "").replace(" ", "_")
    command(
        "diffkd-distill",
        experiment,
        run,
        task.seed,
        f"--teacher={path}",
        f"--student={spec}",
        *METHODS[task.method],
        f"--epochs={epochs}",
        data_dir=data_dir,
    )
    return record(task, model, run)


def student_of(task, teacher):
    """Returns a student as `--student` takes it, and as a model."""
    if task.weights == ZOO:
        spec, classes = TASKS[task.task].zoo, TASKS[task.task].classes
        return spec, load_model(spec, input_shape=(64, 64, 3), num_classes=classes)
    student = shrink(load_model(str(teacher)), task.width)
    if task.weights == INHERITED:
        return f"shrink:{task.width:g}", student
    path = teacher.parents[1] / f"new_{task.width:g}.keras"
    if not path.exists():
        with_new_weights(student).save(path)
    return str(path), student


def with_new_weights(student):
    """Returns a copy of a student with new weights."""
    copy = type(student).from_config(student.get_config())
    for name, bias in (("box_head", 0.0), ("classification_head", -math.log(99))):
        # As for the models of the zoo: KerasHub sets the prior on the boxes.
        if hasattr(student, "anchor_generator"):
            layer = copy.get_layer(name).layers[-1]
            layer.bias.assign(np.full(layer.bias.shape, bias))
    return copy


def record(task, model, folder):
    """Returns the record of a finished model."""
    metrics = read_metrics(folder)
    curve = metrics[TASKS[task.task].metric]
    _, cost = shrink(model, 1, return_report=True)
    return {
        **task._asdict(),
        "parameters": cost.parameters[1],
        "multiply_adds": cost.multiply_adds[1],
        "curve": curve,
        "accuracy": curve[-1],
        "balanced": balanced_weights(metrics),
        "seconds": round(sum(metrics["seconds"]), 1),
        "revision": revision(),
        "machine": describe_machine(),
    }


def task_of(line):
    """Returns the `Task` of a record."""
    return Task(*(line[field] for field in Task._fields))


def main(argv):
    """Trains what is missing, or writes the tables."""
    del argv
    options = flags.FLAGS
    if options.table:
        write_report(options.runs, report, PAGE, TITLE)
        return
    job = functools.partial(
        train,
        folder=Path(options.folder),
        data_dir=options.data_dir,
        epochs=options.epochs,
    )
    # The commands take both cores, and a teacher comes before its students.
    FinishedRuns(Path(options.runs), task_of).run(
        job, tasks(options.task, options.seeds), workers=1, kind=lambda task: task[:4]
    )


if __name__ == "__main__":
    app.run(main)
