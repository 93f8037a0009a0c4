"""The training that teacher, student alone and distilled student share."""

import contextlib
import dataclasses
import sys
import time
import warnings
from pathlib import Path

import keras
import tensorflow as tf

from keras_diffkd import Distiller, TrainingDivergedError
from keras_diffkd.callbacks import FeaturePictures, TrainingBackup
from keras_diffkd.resuming.fingerprints import OtherTrainingError
from keras_diffkd.validation.models import check_finite_weights

from . import cluster, flags, tasks
from .data import data_fingerprint, load_data
from .run.directory import RunDirectory
from .run.epoch_events import EpochEvents
from .run.metrics_log import MetricsLog
from .run.model_files import save_model
from .run.progress import Progress
from .schedules import build_optimizer


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
        max_skipped_steps=flags.MAX_SKIPPED_STEPS.value,
        # Done before anything is written, by `preflight.check_training`.
        preflight=False,
    )
    return distiller


def train(distiller, stage, data):
    """Trains for what is left of `--epochs` and saves the student of the stage.

    Args:
        distiller: compiled `Distiller`.
        stage: `Stage` whose folder takes metrics, events and backups.
        data: `ClassificationData`, as `build_distiller` was given it.

    Raises:
        TrainingDivergedError: if a step is not finite; its batch is in
            `failed_batch.npz` then. Or if a variable of a backup is not.
        ValueError: if the data is not as promised, or the backups are damaged or
            those of another training.
    """
    steps = _steps_per_epoch(data)
    backup = TrainingBackup(
        stage.checkpoints,
        save_freq=flags.SAVE_EVERY.value or None,
        skip_data=False,
        fingerprint={"data": data_fingerprint(data)},
    )
    at = _position(backup)
    if at.step:
        inside = f", step {at.step_in_epoch}" if at.step_in_epoch else ""
        _say(f"Resuming {stage.folder} after epoch {at.epoch}{inside}")
        data = load_data(start_step=at.step)
    records = stage if cluster.is_chief() else _in_scratch_folder(stage)
    # Whatever was trained before in this process, the draws are the same.
    keras.utils.set_random_seed(flags.SEED.value)
    started = time.monotonic()
    stage.failed_batch.unlink(missing_ok=True)
    try:
        distiller.fit(
            cluster.training_data(data),
            epochs=flags.EPOCHS.value,
            steps_per_epoch=steps,
            validation_data=data.test,
            shuffle=False,  # The data is shuffled already.
            callbacks=[*_callbacks(distiller, records, data), backup],
            verbose=0,
        )
    except tf.errors.OpError as error:
        raise cluster.lost_worker(error) from error
    except OtherTrainingError as error:
        raise ValueError(_other_training(stage, error)) from error
    except TrainingDivergedError as error:
        if error.batch is None:
            raise
        # Also on a worker that is not the chief: it alone has its share of the batch.
        stage.folder.mkdir(parents=True, exist_ok=True)
        error.save_batch(stage.failed_batch)
        error.args = (f"{error} The batch is in {stage.failed_batch}",)
        raise
    if cluster.is_chief():
        student = distiller.strip()
        # Callbacks may have changed the weights after the last backup.
        check_finite_weights(student)
        save_model(student, stage.model_path)
    _say(f"{stage.model_path}: trained in {time.monotonic() - started:.0f} s")


def claim(stage):
    """Returns the context in which a stage may write: see `Stage.claim`."""
    return stage.claim() if cluster.is_chief() else contextlib.nullcontext()


def _position(backup):
    """Returns where to go on; a damaged backup is told of on stderr."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        at = backup.position()
    for warning in caught:
        _say(f"warning: {warning.message}", file=sys.stderr)
    return at


def _other_training(stage, error):
    """Returns the message about backups of another training, in a command's words."""
    message = f"{stage.folder} has a backup of another training: {error.differences}. "
    if error.other_teacher:
        teacher = RunDirectory(Path(flags.RUN_DIR.value)).teacher
        message += f"The teacher, {teacher}, is not that of the backup. "
    return message + "Give another --run_dir, or what it was trained with to resume"


def _callbacks(distiller, records, data):
    chief_only = []
    if cluster.is_chief():
        chief_only = [
            Progress(str(records.model_path)),
            *_pictures(distiller, records, data),
        ]
    return [
        *tasks.current().callbacks(data),
        MetricsLog(records.metrics),
        *chief_only,
        EpochEvents(records.tensorboard),
    ]


def _in_scratch_folder(stage):
    """Returns a stage in a folder that is thrown away.

    All workers resume from the chief's backup and do the same from there; what they
    write is the chief's alone to keep.
    """
    folder = cluster.scratch_folder() / stage.folder.name
    folder.mkdir()
    return dataclasses.replace(
        stage, folder=folder, model_path=folder / stage.model_path.name
    )


def _say(text, file=None):
    if cluster.is_chief():
        print(text, file=file)


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
