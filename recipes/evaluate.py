"""Compares the teacher and students of a run on the test split.

Examples:

  diffkd-evaluate --run_dir=runs/digits
  diffkd-evaluate --run_dir=runs/digits --seeds=5

The run sets all flags; --data_dir and --batch_size may differ. With --seeds, the table
has means over the seeds and their standard deviations.
"""

from pathlib import Path

import keras
import numpy as np
from absl import flags as absl_flags

from keras_diffkd.export.records.table import align_columns
from keras_diffkd.quantization import QuantizationRanges, SimulatedStudent

from . import flags, seeds, tasks
from .activation_ranges import FILE_NAME as RANGES_NAME
from .command_line import run_command
from .data import load_data
from .pictures import draw_predictions
from .run import experiment
from .run.cache_record import other_cache
from .run.directory import RunDirectory
from .run.model_files import load_checked_model
from .seeds import other_seeds, repetition

PICTURE = absl_flags.DEFINE_string(
    "picture",
    None,
    "File for a picture of test images with all predictions (needs matplotlib).",
)

# Part of the help of this command.
absl_flags.adopt_module_key_flags(seeds)


def main(argv):
    """Prints the comparison."""
    del argv
    flags.require("run_dir")
    run = RunDirectory(Path(flags.RUN_DIR.value))
    settings = run.check_finished()
    experiment.adopt(settings)
    runs = [run, *(repetition(run, seed) for seed in other_seeds())]
    for each in runs:
        check_models(each, settings)
        check_same_outputs(each, run)
    data = load_data()
    networks = load_networks(run, data)
    if PICTURE.value:
        draw_predictions(networks, data, PICTURE.value)
    results = [measure(networks, data)]
    results += [measure(load_networks(each, data), data) for each in runs[1:]]
    print(comparison(networks, results, data, settings))
    if "student alone" not in networks:
        print(
            "The student alone was not trained. Train it with: diffkd-distill "
            "--baseline"
        )


def check_models(run, settings):
    """Raises `FileNotFoundError` if a run does not have its models.

    Args:
        run: `RunDirectory`.
        settings: dict of str to str, the flags of the first seed.
    """
    run.check_finished()
    if settings["method"] != "none" and not run.teacher.exists():
        raise FileNotFoundError(f"{run.teacher} is missing: the run is not finished")


def check_same_outputs(run, first):
    """Raises `ValueError` if two seeds learned from different outputs of a teacher.

    Args:
        run: `RunDirectory`.
        first: `RunDirectory` of the first seed.
    """
    reason = other_cache(run.root, first.root)
    if reason:
        raise ValueError(
            f"{run.root} is not comparable to {first.root}: {reason}. Train the seed "
            "again with the same --teacher_cache, in another run, or leave --seeds out"
        )


def load_networks(run, data):
    """Loads those of teacher, student alone and students that exist.

    The int8 student is the float student of `--quantization_aware`, simulated.

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
    networks = {
        name: load_checked_model(str(path), input_shape=data.image_shape)
        for name, path in paths.items()
        if path.exists()
    }
    if run.quantized.exists():
        student = load_checked_model(str(run.quantized), input_shape=data.image_shape)
        ranges = QuantizationRanges.load(run.quantized.with_name(RANGES_NAME))
        networks["int8 student"] = SimulatedStudent(student, ranges)
    return networks


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
        networks: dict of `keras.Model`, those of the first seed.
        results: list of dicts from `measure`, one for each seed.
        data: The data set.
        settings: the run's recorded flags.

    Returns:
        str of several lines.
    """
    first = results[0]
    metrics = dict.fromkeys(key for found in first.values() for key in found)
    rows = [
        [
            name,
            f"{network.count_params():,}",
            *(
                _over_seeds([each[name][key] for each in results if name in each])
                if key in first[name]
                else None
                for key in metrics
            ),
        ]
        for name, network in networks.items()
    ]
    images = f"{data.num_test_examples} test images"
    title = (
        f"{experiment.data_name(settings['dataset'])}, {images}, {settings['method']}"
    )
    if len(results) > 1:
        title += f", means over {len(results)} seeds ± standard deviation"
    return f"{title}\n{align_columns(['model', 'parameters', *metrics], rows)}"


def _over_seeds(values):
    if len(values) == 1:
        return f"{values[0]:.2%}"
    return f"{np.mean(values):.2%} ± {100 * np.std(values, ddof=1):.2f}"


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
