"""Segmenters and detectors of `quantization_aware.py`, on digit scenes."""

import functools

import keras
import numpy as np
from absl import flags
from scene_commands import command

from keras_diffkd import DiffKD, Distiller, LogitsKD
from keras_diffkd.models import load_model
from keras_diffkd.recipes.methods_first import frozen
from keras_diffkd.recipes.tasks.detection import Detection
from keras_diffkd.recipes.tasks.segmentation import Segmentation

SEGMENTER, DETECTOR = "DeepLabV3+ segmenter", "RetinaNet detector"
# Its task, experiment, metric, taps for DiffKD, and optimizer for a learning rate.
SCENES = {
    SEGMENTER: (
        Segmentation(),
        "digit_scenes_deeplabv3",
        "mIoU",
        "backbone/spatial_pyramid_pooling",
        lambda rate: keras.optimizers.AdamW(rate, weight_decay=0.0),
        1e-4,
    ),
    DETECTOR: (
        Detection(),
        "digit_scenes_retinanet",
        "mAP",
        ("backbone/fpn:P3", "backbone/fpn:P4"),
        lambda rate: keras.optimizers.SGD(rate, momentum=0.9, global_clipnorm=1.0),
        1e-2,
    ),
}
# Epochs of the float students, which begin with half of the teacher's channels, and of
# the trainings that continue from them.
FIRST_EPOCHS, FURTHER_EPOCHS = 2, 2
BATCH_SIZE = 16
CALIBRATION_SAMPLES = 256


@functools.cache
def load_scenes(name, folder):
    """Returns the data set of a task, read once in each process."""
    if not flags.FLAGS.is_parsed():
        flags.FLAGS([__file__])  # The tasks read defaults.
    return SCENES[name][0].load(
        "digit_scenes", data_dir=str(folder), batch_size=BATCH_SIZE
    )


def base_models(name, seed, folder, data_dir):
    """Returns paths of a teacher and a float student, trained if they are missing."""
    root = folder / f"{SCENES[name][0].name}_{seed}"
    teacher, student = root / "teacher.keras", root / "student.keras"
    experiment = SCENES[name][1]
    if not teacher.exists():
        command("diffkd-train-teacher", experiment, root, seed, data_dir=data_dir)
    if not student.exists():
        options = ["--student=shrink:0.5", "--method=none", f"--epochs={FIRST_EPOCHS}"]
        command("diffkd-distill", experiment, root, seed, *options, data_dir=data_dir)
    return teacher, student


def train_further(name, arms, seed, paths, data, quantization, methods_first=False):
    """Trains a float student on, and returns the distiller.

    Args:
        name: A key of `SCENES`.
        arms: Names of methods, of "KD", "KD, temperature 1" and "DiffKD".
        seed: Integer.
        paths: Those of `base_models`.
        data: The data set.
        quantization: `QuantizationAware` or None.
        methods_first: Boolean, whether the methods' own layers train for an epoch
            before the student, with the rate of its first training.
    """
    task, _, _, taps, make_optimizer, rate = SCENES[name]
    teacher, student = (load_model(str(path)) for path in paths)
    keras.utils.set_random_seed(seed)
    make = {
        "KD": lambda: LogitsKD(),
        "KD, temperature 1": lambda: LogitsKD(temperature=1.0),
        "DiffKD": lambda: DiffKD(taps, taps, latent_channels=64, seed=seed),
    }
    distiller = Distiller(
        teacher, student, [make[arm]() for arm in arms], quantization=quantization
    )
    task.prepare_student(distiller.student)

    def fit(epochs, rate):
        steps = epochs * data.steps_per_epoch
        distiller.compile(
            make_optimizer(keras.optimizers.schedules.CosineDecay(rate, steps)),
            **task.compile_arguments(data),
            preflight=False,
        )
        distiller.fit(
            data.train,
            epochs=epochs,
            steps_per_epoch=data.steps_per_epoch,
            shuffle=False,
            verbose=0,
        )

    if methods_first:
        with frozen(distiller.student):
            fit(1, 10 * rate)
    fit(FURTHER_EPOCHS, rate)
    return distiller


def test_samples(data):
    """Returns the images and targets of the test split."""
    batches = list(data.test.as_numpy_iterator())
    return keras.tree.map_structure(lambda *parts: np.concatenate(parts), *batches)


def calibration_images(data):
    """Returns images of the training split."""
    images = data.train.unbatch().take(CALIBRATION_SAMPLES)
    return np.stack([image for image, *_ in images.as_numpy_iterator()])
