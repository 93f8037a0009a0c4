"""Segmenters and detectors that are made out of their teachers, on digit scenes.

    python benchmarks/shrunk_scenes.py --data_dir=FOLDER

It runs the commands, so that what is measured is what a user gets: for each seed a
teacher, with the settings of its experiment file, and students of half its width, from
the teacher's weights and from new ones, alone and with DiffKD on features; and the
zoo's student. It resumes an interrupted run, and writes the table into
docs/shrinking.md.
"""

import json
import math
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
from absl import app, flags
from report import describe_machine, markdown_table, write_section
from scene_commands import command

from keras_diffkd import shrink
from keras_diffkd.models import load_model

PAGE = Path(__file__).parents[1] / "docs" / "shrinking.md"
TITLE = "Segmenters and detectors"
WIDTH = 0.5
# Task: its experiment, its metric in metrics.jsonl with a title, and the zoo's student.
TASKS = {
    "segmentation": (
        "digit_scenes_deeplabv3",
        ("val_mean_iou", "mIoU"),
        "deeplabv3_scenes_student",
    ),
    "detection": (
        "digit_scenes_retinanet",
        ("val_mAP", "mAP"),
        "retinanet_scenes_student",
    ),
}
METHODS = {"student alone": "none", "DiffKD": "diffkd_features"}

flags.DEFINE_integer("seeds", 1, "Seeds, of teachers and students.")
flags.DEFINE_integer("epochs", 2, "Epochs of the students.")
flags.DEFINE_string("data_dir", "data", "TFDS data folder.")
flags.DEFINE_string("runs", "runs/shrunk_scenes", "Folder of the runs, which resume.")
flags.DEFINE_list("tasks", list(TASKS), "Tasks to train and to report.")


def last_value(folder, task):
    """Returns the metric of the last epoch, in percent."""
    line = (folder / "metrics.jsonl").read_text().splitlines()[-1]
    return 100 * json.loads(line)[TASKS[task][1][0]]


def with_new_weights(student):
    """Returns a copy of a student with new weights."""
    copy = type(student).from_config(student.get_config())
    for name, bias in (("box_head", 0.0), ("classification_head", -math.log(99))):
        # As for the models of the zoo: KerasHub sets the prior on the boxes.
        if hasattr(student, "anchor_generator"):
            layer = copy.get_layer(name).layers[-1]
            layer.bias.assign(np.full(layer.bias.shape, bias))
    return copy


def train_seed(task, seed):
    """Trains what is missing, and returns rows of cells that end with the metric."""
    root = Path(flags.FLAGS.runs) / f"{task}_{seed}"
    experiment, data_dir = TASKS[task][0], flags.FLAGS.data_dir
    folder = root / "teacher"
    print("diffkd-train-teacher", folder, flush=True)
    command("diffkd-train-teacher", experiment, folder, seed, data_dir=data_dir)
    path = root / "teacher" / "teacher.keras"
    keras.utils.set_random_seed(seed)
    teacher = load_model(str(path))
    student = shrink(teacher, WIDTH)
    new, zoo = root / "new.keras", TASKS[task][2]
    if not new.exists():
        with_new_weights(student).save(new)
    classes = 10 if task == "detection" else 11
    by_hand = load_model(zoo, input_shape=(64, 64, 3), num_classes=classes)
    of_teacher = last_value(root / "teacher" / "teacher", task)
    rows = [(*_cost(teacher), "teacher", "", of_teacher)]
    for weights, spec, model in (
        ("inherited", f"shrink:{WIDTH:g}", student),
        ("new", str(new), student),
        (f"new, {zoo}", zoo, by_hand),
    ):
        for title, method in METHODS.items():
            folder = root / f"{weights.split(', ')[-1]}_{method}"
            print("diffkd-distill", folder, flush=True)
            command(
                "diffkd-distill",
                experiment,
                folder,
                seed,
                f"--teacher={path}",
                f"--student={spec}",
                f"--method={method}",
                f"--epochs={flags.FLAGS.epochs}",
                data_dir=data_dir,
            )
            rows.append((*_cost(model), weights, title, last_value(folder, task)))
    return rows


def _cost(model):
    _, report = shrink(model, 1, return_report=True)
    return f"{report.parameters[1]:,}", f"{report.multiply_adds[1] / 1e6:.1f}"


def table(task, seeds):
    """Returns the table of a task."""
    found = [train_seed(task, seed) for seed in range(seeds)]
    rows = [
        [*same[0][:-1], _mean([row[-1] for row in same])]
        for same in zip(*found, strict=True)
    ]
    header = ["parameters", "millions of multiply-adds", "weights", "method"]
    return markdown_table([*header, TASKS[task][1][1]], rows)


def _mean(values):
    spread = f" ± {np.std(values, ddof=1):.1f}" if len(values) > 1 else ""
    return f"{np.mean(values):.1f}{spread}"


def main(argv):
    """Trains what is missing, and writes the tables."""
    del argv
    options = flags.FLAGS
    seeds = f"{options.seeds} seeds" if options.seeds > 1 else "one seed"
    text = [
        f"Digit scenes (4,000 to train, 512 to test), half the width, {seeds}. "
        "Teachers train four epochs, as in their experiment files, and students "
        f"{options.epochs}: inherited weights have seen the teacher's epochs, too. The "
        "models of the zoo are not of equal cost."
    ]
    for task in options.tasks:
        text += [f"**{task.capitalize()}** (`{TASKS[task][0]}.flags`)"]
        text += [table(task, options.seeds)]
    text += [
        f"{describe_machine()}; `python benchmarks/shrunk_scenes.py "
        f"--seeds={options.seeds}`."
    ]
    text = "\n\n".join(text)
    print(text)
    write_section(PAGE, TITLE, text)


if __name__ == "__main__":
    app.run(main)
