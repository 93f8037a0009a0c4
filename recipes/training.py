"""The training that teacher, student alone and distilled student share."""

import contextlib
import dataclasses
import shutil
import time

import keras
import tensorflow as tf

from keras_diffkd import Distiller
from keras_diffkd.callbacks import FeaturePictures
from keras_diffkd.recipes import cluster, flags, tasks
from keras_diffkd.recipes.data import load_data
from keras_diffkd.recipes.epoch_events import EpochEvents
from keras_diffkd.recipes.metrics_log import MetricsLog
from keras_diffkd.recipes.progress import Progress
from keras_diffkd.recipes.run_directory import save_model
from keras_diffkd.recipes.schedules import build_optimizer
from keras_diffkd.recipes.seed_backup import SeedBackup


def prepare():
    """Checks what every training needs; sets up devices and the dtype policy.

    Raises:
        ValueError: if a required flag is missing, or the workers of the strategy are
            not what `TF_CONFIG` says.
    """
    flags.require("run_dir", "dataset")
    cluster.strategy()
    keras.config.set_dtype_policy(flags.PRECISION.value)


def build_distiller(student, data, teacher=None, methods=()):
    """Builds and compiles what trains a student, with a teacher or alone.

    Args:
        student: built `keras.Model` that outputs logits; also a teacher in training.
        data: `ClassificationData`.
        teacher: built `keras.Model`, needed if there are methods.
        methods: list of distillation methods.

    Returns:
        A compiled `Distiller`. The student itself is not compiled: its file is free
        of the optimizer.

    Raises:
        ValueError: if teacher, student, methods and flags do not fit together.
    """
    distiller = Distiller(
        teacher=teacher,
        student=student,
        methods=methods,
        task_loss_weight=flags.TASK_LOSS_WEIGHT.value if methods else 1.0,
    )
    task = tasks.current()
    task.prepare_student(distiller.student)
    distiller.compile(
        build_optimizer(_steps_per_epoch(data)),
        **task.compile_arguments(data),
        jit_compile={"true": True, "false": False}.get(flags.JIT_COMPILE.value, "auto"),
        # Done before anything is written, by `preflight.check_training`.
        preflight=False,
    )
    return distiller


def train(distiller, stage, data):
    """Trains for what is left of `--epochs` and saves the student of the stage.

    Args:
        distiller: compiled `Distiller`.
        stage: `Stage` whose folder takes metrics, events and checkpoints.
        data: `ClassificationData`, as `build_distiller` was given it.

    Raises:
        ValueError: if the loss is no longer finite, or the data is not as promised.
    """
    steps = _steps_per_epoch(data)
    completed = stage.completed_epochs
    if completed:
        _say(f"Resuming {stage.folder} after epoch {completed}")
        data = load_data(start_step=completed * steps)
    records = stage if cluster.is_chief() else _copy_for_worker(stage)
    # Whatever was trained before in this process, the draws are the same.
    keras.utils.set_random_seed(flags.SEED.value)
    started = time.monotonic()
    try:
        distiller.fit(
            cluster.training_data(data),
            epochs=flags.EPOCHS.value,
            steps_per_epoch=steps,
            validation_data=data.test,
            shuffle=False,  # The data is shuffled already.
            callbacks=_callbacks(distiller, records, data),
            verbose=0,
        )
    except tf.errors.OpError as error:
        raise cluster.lost_worker(error) from error
    if cluster.is_chief():
        save_model(distiller.strip(), stage.model_path)
    _say(f"{stage.model_path}: trained in {time.monotonic() - started:.0f} s")


def claim(stage):
    """Returns the context in which a stage may write: see `Stage.claim`."""
    return stage.claim() if cluster.is_chief() else contextlib.nullcontext()


def _callbacks(distiller, records, data):
    chief_only = []
    if cluster.is_chief():
        chief_only = [
            Progress(str(records.model_path)),
            *_pictures(distiller, records, data),
        ]
    return [
        *tasks.current().callbacks(data),
        # Before the backup: a training that diverged is not to be resumed.
        MetricsLog(records.metrics),
        *chief_only,
        EpochEvents(records.tensorboard),
        SeedBackup(records.checkpoints),
        keras.callbacks.BackupAndRestore(
            records.checkpoints, double_checkpoint=True, delete_checkpoint=False
        ),
    ]


def _copy_for_worker(stage):
    """Returns a stage in a folder that is thrown away, with the same checkpoint.

    All workers resume from the chief's checkpoint and do the same from there; what
    they write is the chief's alone to keep.
    """
    folder = cluster.scratch_folder() / stage.folder.name
    folder.mkdir()
    if stage.checkpoints.exists():
        shutil.copytree(stage.checkpoints, folder / stage.checkpoints.name)
    return dataclasses.replace(
        stage, folder=folder, model_path=folder / stage.model_path.name
    )


def _say(text):
    if cluster.is_chief():
        print(text)


def _pictures(distiller, stage, data):
    if not (flags.PICTURE_EVERY.value and distiller.methods):
        return []
    images, _ = next(iter(data.test))
    return [
        FeaturePictures(
            images.numpy()[:64],
            stage.folder / "pictures",
            every=flags.PICTURE_EVERY.value,
            tensorboard=stage.tensorboard / "pictures",
        )
    ]


def _steps_per_epoch(data):
    return flags.STEPS_PER_EPOCH.value or data.steps_per_epoch
