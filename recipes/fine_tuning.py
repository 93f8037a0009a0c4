"""Trains a pretrained teacher: its new head first, then all of it."""

import dataclasses

import keras

from keras_diffkd.keras_private.layers import inner_layers

from . import flags
from .flag_values import changed
from .networks import build_network, is_pretrained
from .preflight import check_training
from .run import experiment
from .run.model_files import load_checked_model
from .teacher_flags import FINE_TUNE_LEARNING_RATE, HEAD_EPOCHS
from .training import build_distiller, claim, train

DEFAULT_HEAD_EPOCHS = 5
# The classes of the heads that applications have.
IMAGENET_CLASSES = 1000


def head_epochs(data):
    """Returns the number of epochs that train the head alone.

    Args:
        data: `ClassificationData`.

    Raises:
        ValueError: if `--head_epochs` is set for a teacher without pretrained weights.
    """
    check_flags()
    spec = flags.TEACHER.value
    has_new_head = is_fine_tuned() and (
        spec.startswith("hub:") or data.num_classes != IMAGENET_CLASSES
    )
    if HEAD_EPOCHS.value is not None:
        return HEAD_EPOCHS.value
    return DEFAULT_HEAD_EPOCHS if has_new_head else 0


def is_fine_tuned():
    """Returns whether `--teacher` is a classifier with pretrained weights."""
    is_classifier = flags.TASK.value == "classification"
    return is_classifier and is_pretrained(flags.TEACHER.value)


def check_flags():
    """Raises `ValueError` if flags about fine-tuning are set for another teacher."""
    for flag in (HEAD_EPOCHS, FINE_TUNE_LEARNING_RATE):
        if flag.value is not None and not is_fine_tuned():
            raise ValueError(
                f"--{flag.name} is for a classifier with pretrained weights: "
                "--teacher=applications:NAME+imagenet or --teacher=hub:PRESET. "
                f"Received: --{flag.name}={flag.value} --teacher={flags.TEACHER.value} "
                f"--task={flags.TASK.value}"
            )
    rate = FINE_TUNE_LEARNING_RATE.value
    if rate is not None and not 0 < rate < float("inf"):
        raise ValueError(
            f"--fine_tune_learning_rate must be a positive number. Received: {rate}"
        )


def train_fine_tuned(stage, data):
    """Trains the head of the teacher, then all of it but its normalization.

    Batch normalization keeps the statistics of the images that the weights were
    trained on: small batches of other images make them worse.

    Args:
        stage: `Stage` of the teacher, which is not finished.
        data: `ClassificationData`.
    """
    keras.utils.set_random_seed(flags.SEED.value)
    epochs = head_epochs(data)
    if epochs:
        teacher = load_checked_model(str(_train_head(stage, data, epochs)))
    else:
        teacher = build_network(flags.TEACHER.value, data)
    for layer in pretrained_layers(teacher):
        layer.trainable = True
    for layer in inner_layers(teacher):
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False
    rate = FINE_TUNE_LEARNING_RATE.value or flags.LEARNING_RATE.value / 10
    with changed(learning_rate=rate):
        distiller = build_distiller(teacher, data)
        check_training(distiller, data)
        with claim(stage):
            train(distiller, stage, data)


def pretrained_layers(teacher):
    """Returns the layers of a teacher from `build_network` that are not its head."""
    # It has a layer in front, for the colors.
    inner = teacher.layers[-1]
    if hasattr(inner, "backbone"):
        return [inner.backbone]
    return inner.layers[:-1]


def _train_head(stage, data, epochs):
    """Trains the head, if that is not done, and returns the path of the model."""
    others = {"lr_schedule": "constant", "milestones": [], "warmup_epochs": 0}
    with changed(epochs=epochs, **others):
        head = dataclasses.replace(
            stage,
            folder=stage.folder / "head",
            model_path=stage.folder / "head" / "teacher.keras",
            settings=experiment.recorded(),
        )
        head.check()
        if head.finished:
            return head.model_path
        teacher = build_network(flags.TEACHER.value, data)
        for layer in pretrained_layers(teacher):
            layer.trainable = False
        distiller = build_distiller(teacher, data)
        check_training(distiller, data)
        with claim(head):
            train(distiller, head, data)
    return head.model_path
