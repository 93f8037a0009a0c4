"""Trains a teacher: R/teacher.keras, and its records in R/teacher/.

Example:

  diffkd-train-teacher --flagfile=recipes/experiments/digits.flags --run_dir=runs/digits

The same command again resumes, or says that nothing is left to do.
"""

from pathlib import Path

import keras

from . import cluster, flags
from .command_line import run_command
from .data import load_data
from .networks import build_network
from .preflight import check_flags, check_training
from .run.directory import RunDirectory
from .training import build_distiller, claim, locked, prepare, train


def main(argv):
    """Trains the teacher that the flags describe."""
    del argv
    # The teacher sees a new view in each epoch, also with an experiment's flags.
    flags.FLAGS["cache_views"].value = None
    # It learns from labels alone.
    flags.FLAGS["unlabeled"].value = None
    check_flags(("run_dir", "dataset", "teacher"), method=False)
    prepare()
    run = RunDirectory(Path(flags.RUN_DIR.value))
    run.check_is_one()
    with locked(run):
        train_run(run)


def train_run(run):
    """Trains the teacher of a run, unless it is finished.

    Args:
        run: `RunDirectory`.
    """
    stage = run.stages()["teacher"]
    stage.check()
    if stage.finished:
        print(f"{stage.model_path} is finished; nothing to do")
        return
    with cluster.scope():
        data = load_data()
        keras.utils.set_random_seed(flags.SEED.value)
        teacher = build_network(flags.TEACHER.value, data)
        distiller = build_distiller(teacher, data)
        check_training(distiller, data)
        with claim(stage):
            train(distiller, stage, data)


def run():
    """Runs `diffkd-train-teacher`."""
    run_command("diffkd-train-teacher", main)
