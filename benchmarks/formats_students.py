"""The students of `formats.py`, and the images that they are compared on."""

import dataclasses
from pathlib import Path

import keras
import numpy as np

from keras_diffkd.datasets import load_classification, load_segmentation
from keras_diffkd.metrics import mean_iou
from keras_diffkd.models import build_model

NUM_CALIBRATION_SAMPLES = 128


@dataclasses.dataclass(frozen=True)
class Case:
    """A student and how it is trained, from real handwritten digits.

    Args:
        title: String.
        about: String, what it was trained on.
        build: Function that gives the model, with new weights.
        epochs: Integer.
        scale: Integer: digits of 8x8 pixels are enlarged so often.
        channels: Integer.
        segments: Boolean, whether it segments scenes with digits.
        batch_size: Integer.
        learning_rate: Float, of Adam; None for SGD as in `digits.flags`.
    """

    title: str
    about: str
    build: object
    epochs: int
    scale: int = 1
    channels: int = 1
    segments: bool = False
    batch_size: int = 64
    learning_rate: float | None = None


def _mobilenet():
    model = keras.applications.MobileNetV2(
        (96, 96, 3), weights=None, classes=10, classifier_activation=None
    )
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            # Its 0.999 would need thousands of steps.
            layer.momentum = 0.9
    return model


CASES = {
    "digits_student": Case(
        "digits student",
        "the digits of `digits.flags` with its optimizer and epochs, alone",
        lambda: build_model("digits_student", (8, 8, 1), 10),
        epochs=40,
    ),
    "digits_teacher": Case(
        "digits teacher as a student",
        "the same digits",
        lambda: build_model("digits_teacher", (8, 8, 1), 10),
        epochs=20,
    ),
    "wrn_16_2": Case(
        "WRN-16-2, 32x32x3, 100 classes",
        "the same digits four times as wide and high, in gray RGB; 90 classes are "
        "never seen",
        lambda: build_model("wrn_16_2", (32, 32, 3), 100),
        epochs=4,
        learning_rate=2e-3,
        scale=4,
        channels=3,
    ),
    "mobilenet_v2": Case(
        "MobileNetV2 of `keras.applications`, 96x96x3",
        "the same digits twelve times as wide and high, in gray RGB, from new weights",
        _mobilenet,
        epochs=4,
        batch_size=32,
        learning_rate=1e-3,
        scale=12,
        channels=3,
    ),
    "deeplabv3": Case(
        "DeepLabV3+ segmenter, 64x64x3",
        "digit scenes",
        lambda: build_model("deeplabv3_scenes_student", (64, 64, 3), 11),
        epochs=2,
        batch_size=16,
        learning_rate=2e-3,
        channels=3,
        segments=True,
    ),
}


def load(case, data_dir):
    """Returns `(train, test, data)`: two pairs of images and targets, and the data."""
    if case.segments:
        data = load_segmentation(
            "digit_scenes",
            data_dir=data_dir,
            batch_size=case.batch_size,
            augment="none",
        )
        train, test = _collect(data.train.take(250)), _collect(data.test.take(12))
    else:
        data = load_classification(
            "digits",
            data_dir=data_dir,
            batch_size=case.batch_size,
            augment="none",
        )
        steps = data.steps_per_epoch
        train, test = _collect(data.train.take(steps)), _collect(data.test)
    return _enlarged(train, case), _enlarged(test, case), data


def train(name, path, data_dir):
    """Trains a student and saves it."""
    case = CASES[name]
    keras.utils.set_random_seed(0)
    (images, targets), _, data = load(case, data_dir)
    model = case.build()
    steps = case.epochs * len(images) // case.batch_size
    schedule = keras.optimizers.schedules.CosineDecay(case.learning_rate or 0.1, steps)
    optimizer = (
        keras.optimizers.SGD(schedule, 0.9)
        if case.learning_rate is None
        else keras.optimizers.Adam(schedule)
    )
    ignored = data.ignore_label if case.segments else None
    loss = keras.losses.SparseCategoricalCrossentropy(
        from_logits=True, ignore_class=ignored
    )
    # KerasHub's own metrics do not take these masks.
    model.compile(optimizer, loss, metrics=[], jit_compile=False)
    model.fit(images, targets, case.batch_size, epochs=case.epochs, verbose=0)
    # What was compiled would not load without what it was compiled with.
    plain = case.build()
    plain.set_weights(model.get_weights())
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    plain.save(path)


def metrics(case, data):
    """Returns the `metrics` of `export_student`; None for the accuracy."""
    if not case.segments:
        return None
    return lambda outputs, masks: {
        "mIoU": mean_iou(outputs["logits"], masks, data.num_classes, data.ignore_label)
    }


def _collect(batches):
    pairs = [(np.array(images), np.array(targets)) for images, targets in batches]
    return tuple(np.concatenate(arrays) for arrays in zip(*pairs, strict=True))


def _enlarged(pair, case):
    images, targets = pair
    images = images.repeat(case.scale, axis=1).repeat(case.scale, axis=2)
    if images.shape[-1] != case.channels:
        images = images.repeat(case.channels, axis=3)
    return images, targets
