"""Compares the teacher and students of a run on the test split.

Example:

  diffkd-evaluate --run_dir=runs/digits

The run sets all flags; --data_dir and --batch_size may differ.
"""

from pathlib import Path

import keras
import numpy as np
from absl import flags as absl_flags

from keras_diffkd.export.records.table import align_columns

from . import flags, tasks
from .command_line import run_command
from .data import load_data
from .pictures import draw_predictions
from .run import experiment
from .run.directory import RunDirectory
from .run.model_files import load_checked_model

PICTURE = absl_flags.DEFINE_string(
    "picture",
    None,
    "File for a picture of test images with all predictions (needs matplotlib).",
)


def main(argv):
    """Prints the comparison."""
    del argv
    flags.require("run_dir")
    run = RunDirectory(Path(flags.RUN_DIR.value))
    settings = run.check_finished()
    experiment.adopt(settings)
    for path in (run.teacher, run.student):
        if not path.exists() and not (
            path == run.teacher and settings["method"] == "none"
        ):
            raise FileNotFoundError(f"there is no {path}: the run is not finished")
    data = load_data()
    networks = load_networks(run, data)
    if PICTURE.value:
        draw_predictions(networks, data, PICTURE.value)
    print(comparison(networks, measure(networks, data), data, settings))
    if "student alone" not in networks:
        print("The student alone was not trained: diffkd-distill --baseline does that.")


def load_networks(run, data):
    """Loads those of teacher, student alone and distilled student that exist.

    Args:
        run: `RunDirectory`.
        data: data set whose images the models take.

    Returns:
        dict of `keras.Model`, by the names in the table.
    """
    paths = {
        "teacher": run.teacher,
        "student alone": run.baseline,
        "distilled student": run.student,
    }
    return {
        name: load_checked_model(str(path), input_shape=data.image_shape)
        for name, path in paths.items()
        if path.exists()
    }


def measure(networks, data):
    """Runs all models over the test split, once through the data.

    Args:
        networks: dict of `keras.Model`.
        data: The data set.

    Returns:
        dict from model to a dict from metric to float: the task's metrics, and
        "agreement with teacher", the share of images or pixels with the same
        prediction, if the outputs can be compared.
    """
    task = tasks.current()
    evaluations = {
        name: task.evaluation(network, data) for name, network in networks.items()
    }
    forwards = {name: tasks.forward(network) for name, network in networks.items()}
    same = {name: [] for name in networks}
    for images, targets in data.test:
        targets = keras.tree.map_structure(np.array, targets)
        outputs = {name: forward(images) for name, forward in forwards.items()}
        for name, evaluation in evaluations.items():
            evaluation.update(outputs[name], targets)
            same[name].append(_agreement(outputs, name))
    results = {name: evaluation.result() for name, evaluation in evaluations.items()}
    for name, shares in same.items():
        if None not in shares:
            # The last batch may be smaller: weigh by what was compared.
            agreeing, compared = np.sum(shares, axis=0)
            results[name]["agreement with teacher"] = agreeing / compared
    return results


def comparison(networks, results, data, settings):
    """Returns the table of the comparison.

    Args:
        networks: dict of `keras.Model`.
        results: dict of dicts from `measure`.
        data: The data set.
        settings: the run's recorded flags.

    Returns:
        str of several lines.
    """
    metrics = dict.fromkeys(key for found in results.values() for key in found)
    rows = [
        [
            name,
            f"{network.count_params():,}",
            *(
                f"{results[name][key]:.2%}" if key in results[name] else None
                for key in metrics
            ),
        ]
        for name, network in networks.items()
    ]
    images = f"{data.num_test_examples} test images"
    title = f"{settings['dataset']}, {images}, {settings['method']}"
    return f"{title}\n{align_columns(['model', 'parameters', *metrics], rows)}"


def _agreement(outputs, name):
    """Returns how many decisions agree with the teacher's, and of how many."""
    teacher, student = outputs.get("teacher"), outputs[name]
    if name == "teacher" or not isinstance(teacher, np.ndarray):
        return None
    if teacher.shape != student.shape:
        return None
    agreeing = teacher.argmax(-1) == student.argmax(-1)
    return np.sum(agreeing), agreeing.size


def run():
    """Runs `diffkd-evaluate`."""
    run_command("diffkd-evaluate", main)
