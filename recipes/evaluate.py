"""Compares teacher, student alone and distilled student of a run on the test split.

Example:

  diffkd-evaluate --run_dir=runs/digits

The settings are those of the run; --data_dir and --batch_size may be others.
"""

from pathlib import Path

import keras
import numpy as np

from keras_diffkd import models
from keras_diffkd.recipes import flags
from keras_diffkd.recipes.command_line import run_command
from keras_diffkd.recipes.data import load_data
from keras_diffkd.recipes.run_directory import RunDirectory
from keras_diffkd.recipes.tables import format_table

# From this many classes on, top-5 accuracy says something.
MIN_CLASSES_FOR_TOP5 = 100


def main(argv):
    """Prints the comparison."""
    del argv
    flags.require("run_dir")
    run = RunDirectory(Path(flags.RUN_DIR.value))
    settings = run.check_finished()
    flags.adopt(settings)
    for path in (run.teacher, run.student):
        if not path.exists() and not (
            path == run.teacher and settings["method"] == "none"
        ):
            raise FileNotFoundError(f"there is no {path}: the run is not finished")
    data = load_data()
    networks = load_networks(run, data)
    logits, labels = predict_test_split(networks, data)
    print(comparison(networks, logits, labels, data, settings))
    if "student alone" not in networks:
        print("The student alone was not trained: diffkd-distill --baseline does that.")


def load_networks(run, data):
    """Loads what there is of teacher, student alone and distilled student.

    Args:
        run: `RunDirectory`.
        data: `ClassificationData`; images and classes have to fit it.

    Returns:
        dict of `keras.Model`, by the names in the table.
    """
    paths = {
        "teacher": run.teacher,
        "student alone": run.baseline,
        "distilled student": run.student,
    }
    return {
        name: models.load_model(str(path), input_shape=data.image_shape)
        for name, path in paths.items()
        if path.exists()
    }


def predict_test_split(networks, data):
    """Runs all models over the test split, once through the data.

    Args:
        networks: dict of `keras.Model`.
        data: `ClassificationData`.

    Returns:
        dict of float arrays `(examples, classes)`, and the labels `(examples,)`.
    """
    outputs, labels = {name: [] for name in networks}, []
    for images, batch_labels in data.test:
        labels.append(np.array(batch_labels))
        for name, network in networks.items():
            outputs[name].append(network.predict_on_batch(images))
    logits = {name: np.concatenate(batches) for name, batches in outputs.items()}
    return logits, np.concatenate(labels)


def comparison(networks, logits, labels, data, settings):
    """Lays out the table of the comparison.

    Args:
        networks: dict of `keras.Model`.
        logits: dict of arrays `(examples, classes)`, of the same names.
        labels: integer array `(examples,)`.
        data: `ClassificationData`.
        settings: the run's recorded flags.

    Returns:
        str of several lines.
    """
    with_top5 = data.num_classes >= MIN_CLASSES_FOR_TOP5
    headers = ["model", "parameters", "top-1 accuracy"]
    headers += ["top-5 accuracy"] if with_top5 else []
    headers += ["agreement with teacher"]
    rows = []
    for name, network in networks.items():
        row = [name, f"{network.count_params():,}"]
        # A teacher whose features alone were used may know other classes.
        comparable = logits[name].shape[-1] == data.num_classes
        ranks = (1, 5) if with_top5 else (1,)
        row += [
            f"{top_k_accuracy(logits[name], labels, k):.2%}" if comparable else None
            for k in ranks
        ]
        row.append(_agreement(logits, name))
        rows.append(row)
    title = f"{settings['dataset']}, {len(labels)} test images, {settings['method']}"
    return f"{title}\n{format_table(headers, rows)}"


def top_k_accuracy(logits, labels, k):
    """The share of rows whose label is among the k largest logits."""
    hits = keras.ops.in_top_k(labels, keras.ops.convert_to_tensor(logits), k)
    return float(np.mean(np.array(hits)))


def _agreement(logits, name):
    teacher = logits.get("teacher")
    if name == "teacher" or teacher is None or teacher.shape != logits[name].shape:
        return None
    return f"{np.mean(teacher.argmax(-1) == logits[name].argmax(-1)):.2%}"


def run():
    """Entry point of `diffkd-evaluate`."""
    run_command("diffkd-evaluate", main)
