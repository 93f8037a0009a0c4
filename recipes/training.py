"""The training that teacher, student alone and distilled student share."""

import time

import keras

from keras_diffkd import Distiller
from keras_diffkd.callbacks import FeaturePictures
from keras_diffkd.recipes import flags
from keras_diffkd.recipes.data import load_data
from keras_diffkd.recipes.epoch_events import EpochEvents
from keras_diffkd.recipes.metrics_log import MetricsLog
from keras_diffkd.recipes.progress import Progress
from keras_diffkd.recipes.run_directory import save_model
from keras_diffkd.recipes.schedules import build_optimizer
from keras_diffkd.recipes.seed_backup import SeedBackup


def prepare():
    """Checks what every training needs, and sets the dtype policy.

    Raises:
        ValueError: if a required flag is missing, or the strategy is unknown.
    """
    flags.require("run_dir", "dataset")
    if flags.STRATEGY.value != "none":
        raise ValueError(
            "--strategy must be 'none' (one device): distributed training is not "
            f"there yet. Received: {flags.STRATEGY.value!r}"
        )
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
    distiller.compile(
        build_optimizer(_steps_per_epoch(data)),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
        jit_compile={"true": True, "false": False}.get(flags.JIT_COMPILE.value, "auto"),
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
        print(f"Resuming {stage.folder} after epoch {completed}")
        data = load_data(start_step=completed * steps)
    # Whatever was trained before in this process, the draws are the same.
    keras.utils.set_random_seed(flags.SEED.value)
    started = time.monotonic()
    distiller.fit(
        data.train,
        epochs=flags.EPOCHS.value,
        steps_per_epoch=steps,
        validation_data=data.test,
        shuffle=False,  # The data is shuffled already.
        callbacks=[
            # Before the backup: a training that diverged is not to be resumed.
            MetricsLog(stage.metrics),
            Progress(str(stage.model_path)),
            EpochEvents(stage.tensorboard),
            *_pictures(distiller, stage, data),
            SeedBackup(stage.checkpoints),
            keras.callbacks.BackupAndRestore(
                stage.checkpoints, double_checkpoint=True, delete_checkpoint=False
            ),
        ],
        verbose=0,
    )
    save_model(distiller.strip(), stage.model_path)
    print(f"{stage.model_path}: trained in {time.monotonic() - started:.0f} s")


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
