"""Trains a teacher, a student alone, or a distilled student."""

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
from keras_diffkd.errors import OtherTrainingError
from keras_diffkd.validation.models import check_finite_weights

from . import cluster, flags, methods_first, tasks
from .activation_ranges import FILE_NAME as RANGES_NAME
from .data import data_fingerprint, load_again
from .run.directory import RunDirectory
from .run.epoch_events import EpochEvents
from .run.metrics_log import MetricsLog
from .run.model_files import save_model
from .run.progress import Progress
from .schedules import build_optimizer, cosine_flags
from .teacher_cache import cache_fingerprint, with_stored_outputs


def prepare():
    """Sets up devices and the dtype policy.

    Raises:
        ValueError: if a required flag is missing, or `TF_CONFIG` does not describe
            the workers of the strategy.
    """
    flags.require("run_dir", "dataset")
    cluster.strategy()
    keras.config.set_dtype_policy(flags.PRECISION.value)


def build_distiller(
    student, data, teacher=None, methods=(), teacher_preprocess=None, quantization=None
):
    """Builds and compiles the distiller of a student, with a teacher or alone.

    Args:
        student: built `keras.Model` that outputs logits, or a teacher to train.
        data: `ClassificationData`.
        teacher: built `keras.Model`, needed if there are methods.
        methods: list of distillation methods.
        teacher_preprocess: callable on a batch, in front of the teacher, or `None`.
        quantization: `QuantizationAware` or `None`.

    Returns:
        A compiled `Distiller`. The student itself is not compiled, and its file has
        no optimizer.

    Raises:
        ValueError: if teacher, student, methods and flags do not fit together.
    """
    distiller = Distiller(
        teacher=teacher,
        student=student,
        methods=methods,
        teacher_preprocess=teacher_preprocess,
        quantization=quantization,
        task_loss_weight=flags.TASK_LOSS_WEIGHT.value if methods else 1.0,
    )
    tasks.current().prepare_student(distiller.student)
    _compile(distiller, data)
    return distiller


def _compile(distiller, data):
    distiller.compile(
        build_optimizer(_steps_per_epoch(data)),
        **tasks.current().compile_arguments(data),
        jit_compile={"true": True, "false": False}.get(flags.JIT_COMPILE.value, "auto"),
        max_skipped_steps=flags.MAX_SKIPPED_STEPS.value,
        # `preflight.check_training` does it before anything is written.
        preflight=False,
    )


def train(distiller, stage, data, cache=None, method_rate=None):
    """Trains the rest of `--epochs` and saves the student of the stage.

    Before the first step, `--method_epochs` train the methods' own layers.

    Args:
        distiller: compiled `Distiller`.
        stage: `Stage` whose folder takes metrics, events and snapshots.
        data: the `ClassificationData` that `build_distiller` took.
        cache: `TeacherCache` whose outputs the distiller's teacher takes, or `None`.
        method_rate: float, learning rate of the methods' own layers, or `None` for
            `--learning_rate`.

    Raises:
        TrainingDivergedError: if a step is not finite, whose batch is then in
            `failed_batch.npz`, or if a variable of a snapshot is not finite.
        ValueError: if the data is malformed, or the snapshots are damaged or from
            another training.
    """
    steps = _steps_per_epoch(data)
    backup = TrainingBackup(
        stage.checkpoints,
        save_freq=flags.SAVE_EVERY.value or None,
        skip_data=False,
        fingerprint={"data": data_fingerprint(data), **cache_fingerprint(cache)},
    )
    at = _position(backup)
    if at.step:
        inside = f", step {at.step_in_epoch}" if at.step_in_epoch else ""
        _say(f"Resuming {stage.folder} after epoch {at.epoch}{inside}")
        data = with_stored_outputs(load_again(data, at.step), cache, distiller)
    records = stage if cluster.is_chief() else _in_scratch_folder(stage)
    started = time.monotonic()
    stage.failed_batch.unlink(missing_ok=True)
    with _explaining_errors(stage):
        if not at.step and methods_first.are_wanted(distiller):
            rate = method_rate or flags.LEARNING_RATE.value
            _train_methods(distiller, data, cache, rate, steps)
        # The random draws do not depend on earlier trainings in this process.
        keras.utils.set_random_seed(flags.SEED.value)
        callbacks = [*_callbacks(distiller, records, data), backup]
        _fit(distiller, data, steps, callbacks, validation_data=data.test)
    if cluster.is_chief():
        _save_student(distiller, stage)
    _say(f"{stage.model_path}: trained in {time.monotonic() - started:.0f} s")


@contextlib.contextmanager
def _explaining_errors(stage):
    """Returns a context whose errors say what to do, and keep the failed batch."""
    try:
        yield
    except tf.errors.OpError as error:
        raise cluster.lost_worker(error) from error
    except OtherTrainingError as error:
        raise ValueError(_other_training(stage, error)) from error
    except TrainingDivergedError as error:
        if error.batch is None:
            raise
        # Every worker saves its own share of the batch, not only the chief.
        stage.folder.mkdir(parents=True, exist_ok=True)
        error.save_batch(stage.failed_batch)
        error.args = (f"{error} The batch is in {stage.failed_batch}",)
        raise


def _save_student(distiller, stage):
    student = distiller.strip()
    # Callbacks may change the weights after the last snapshot.
    check_finite_weights(student)
    if distiller.quantization is not None:
        # Before the student, whose file says that the training is finished.
        ranges = distiller.quantization_ranges()
        ranges.save(stage.model_path.with_name(RANGES_NAME))
    save_model(student, stage.model_path)


def _train_methods(distiller, data, cache, learning_rate, steps):
    """Trains the methods' own layers while the student stands still.

    A training that is interrupted here begins again.
    """
    # The student's training begins with its own first batch.
    again = with_stored_outputs(load_again(data, 0), cache, distiller)
    keras.utils.set_random_seed(flags.SEED.value)
    shown = [Progress("methods' own layers")] if cluster.is_chief() else []
    with (
        methods_first.frozen(distiller.student),
        cosine_flags(flags.METHOD_EPOCHS.value, learning_rate),
    ):
        _compile(distiller, data)
        _fit(distiller, again, steps, shown)
    _compile(distiller, data)


def _fit(distiller, data, steps, callbacks, **arguments):
    distiller.fit(
        cluster.training_data(data),
        epochs=flags.EPOCHS.value,
        steps_per_epoch=steps,
        shuffle=False,  # The data set shuffles itself.
        callbacks=callbacks,
        verbose=0,
        **arguments,
    )


def locked(run):
    """Returns the context in which this process has a run to itself."""
    return run.locked() if cluster.is_chief() else contextlib.nullcontext()


def claim(stage):
    """Returns the context in which a stage may write; see `Stage.claim`."""
    return stage.claim() if cluster.is_chief() else contextlib.nullcontext()


def _position(backup):
    """Returns the position to resume from; warns of a damaged snapshot on stderr."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        at = backup.position()
    for warning in caught:
        _say(f"warning: {warning.message}", file=sys.stderr)
    return at


def _other_training(stage, error):
    """Returns the message about a snapshot of another training, for a command."""
    differences = error.differences
    message = f"{stage.folder} has a snapshot of another training: {differences}. "
    if error.other_teacher:
        teacher = RunDirectory(Path(flags.RUN_DIR.value)).teacher
        message += f"The teacher, {teacher}, is not that of the snapshot. "
    return message + "Give another --run_dir, or the same settings to resume"


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
    """Returns a stage in a temporary folder.

    All workers resume from the chief's snapshot and do the same from there. Only the
    chief keeps its files.
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
