"""Runs the package's commands on digit scenes, for the benchmarks of them."""

import json
import subprocess
import sys
from pathlib import Path


def command(name, experiment, folder, seed, *arguments, data_dir, **options):
    """Runs a command of the package in a process of its own, which must succeed.

    Args:
        name: Its name, such as `"diffkd-distill"`.
        experiment: Name of a file of flags, without its extension.
        folder: Folder of the run.
        seed: Integer.
        *arguments: Further flags.
        data_dir: TFDS data folder.
        **options: Those of `subprocess.run`.
    """
    subprocess.run(
        [
            Path(sys.executable).parent / name,
            f"--flagfile={experiment}.flags",
            f"--run_dir={folder}",
            f"--data_dir={data_dir}",
            f"--seed={seed}",
            *arguments,
        ],
        check=True,
        **options,
    )


def train_teacher(experiment, folder, seed, data_dir):
    """Trains the teacher of a seed, if it is missing, and returns its path.

    Args:
        experiment: Name of a file of flags, without its extension.
        folder: Folder of the seed's models.
        seed: Integer.
        data_dir: TFDS data folder.
    """
    path = folder / "teacher" / "teacher.keras"
    if not path.exists():
        command(
            "diffkd-train-teacher", experiment, path.parent, seed, data_dir=data_dir
        )
    return path


def read_metrics(folder):
    """Returns a dict from the names in `metrics.jsonl` to the values of all epochs."""
    with (folder / "metrics.jsonl").open(encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    return {name: [line[name] for line in lines] for name in lines[-1]}


def balanced_weights(metrics):
    """Returns the weights that training has settled on, by the names of the losses."""
    return {
        name.removesuffix("_weight"): round(values[-1], 3)
        for name, values in metrics.items()
        if name.endswith("/distill_weight")
    }
