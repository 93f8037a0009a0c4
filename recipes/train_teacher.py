"""Trains a teacher: R/teacher.keras, and its records in R/teacher/.

Examples:

  diffkd-train-teacher --flagfile=recipes/experiments/digits.flags --run_dir=runs/digits
  diffkd-train-teacher --run_dir=runs/flowers --dataset=flowers --image_size=160 \\
      --teacher=applications:MobileNetV2+imagenet --epochs=10

Of a pretrained teacher, the new head is trained first, for --head_epochs, then all of
it. Its records are in R/teacher/head/.

The same command again resumes, or says that nothing is left to do.
"""

import warnings
from pathlib import Path

import keras
from absl import flags as absl_flags

from . import cluster, fine_tuning, flags, teacher_flags
from .command_line import run_command
from .data import load_data
from .fine_tuning import is_fine_tuned, train_fine_tuned
from .networks import build_network
from .preflight import check_flags, check_training
from .run.directory import RunDirectory
from .training import build_distiller, claim, locked, prepare, train

# Part of the help of this command.
absl_flags.adopt_module_key_flags(teacher_flags)


def main(argv):
    """Trains the teacher that the flags describe."""
    del argv
    # The teacher sees a new view in each epoch, also with an experiment's flags.
    flags.FLAGS["cache_views"].value = None
    # It learns from labels alone.
    flags.FLAGS["unlabeled"].value = None
    check_flags(("run_dir", "dataset", "teacher"), method=False)
    fine_tuning.check_flags()
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
    with cluster.scope(), warnings.catch_warnings():
        # That a new head is not trained: it is now.
        warnings.filterwarnings("ignore", "'.*' has no head for ")
        data = load_data()
        if is_fine_tuned():
            train_fine_tuned(stage, data)
            return
        keras.utils.set_random_seed(flags.SEED.value)
        teacher = build_network(flags.TEACHER.value, data)
        distiller = build_distiller(teacher, data)
        check_training(distiller, data)
        with claim(stage):
            train(distiller, stage, data)


def run():
    """Runs `diffkd-train-teacher`."""
    run_command("diffkd-train-teacher", main)
