"""Trains on Fashion-MNIST for `gpu.py`: one teacher, and one row of students."""

import keras
import numpy as np
from gpu_cases import ROWS

from keras_diffkd import DIST, DKD, DiffKD, Distiller, FitNet, LogitsKD, VkD
from keras_diffkd.idx import balanced_subset, read_idx_folder
from keras_diffkd.models import build_model

BATCH_SIZE = 128
LEARNING_RATE = 0.05
# Of the pixels of the training images, scaled to 0..1.
MEAN, STD = 0.2860, 0.3530
LATENT_CHANNELS = 32


def features(weight):
    """DiffKD on the last feature map."""
    return DiffKD(
        "features",
        "features",
        latent_channels=LATENT_CHANNELS,
        distill_weight=weight,
        name="diffkd_features",
    )


METHODS = {
    "alone": lambda weight: [],
    "kd": lambda weight: [LogitsKD(weight=weight)],
    "fitnet": lambda weight: [FitNet("features", "features", weight=weight)],
    "features": lambda weight: [features(weight)],
    "both": lambda weight: [
        features(weight),
        DiffKD(distance="kl", distill_weight=weight, name="diffkd_logits"),
    ],
    "kd_features": lambda weight: [LogitsKD(), features(weight)],
    "dist": lambda weight: [DIST(weight=weight)],
    "dkd": lambda weight: [DKD(weight=weight)],
    "vkd": lambda weight: [VkD("features", "features", weight=weight)],
}


def load(folder):
    """Returns `{"train": (images, labels), "test": ...}`, normalized."""

    def prepare(images, labels):
        images = (images[..., None] / np.float32(255) - MEAN) / STD
        return images.astype("float32"), labels.astype("int32")

    return {name: prepare(*split) for name, split in read_idx_folder(folder).items()}


def batches(images, labels, seed, flip=False):
    """Yields shuffled batches for ever; every epoch leaves another remainder out."""
    generator = np.random.default_rng(seed)
    size = batch_size(labels)
    while True:
        order = generator.permutation(len(labels))
        for start in range(0, len(order) - size + 1, size):
            chosen = order[start : start + size]
            x = images[chosen]
            if flip:
                mirrored = generator.random(size) < 0.5
                x = np.where(mirrored[:, None, None, None], x[:, :, ::-1], x)
            yield x, labels[chosen]


def batch_size(labels):
    """Returns 128, or less where there are fewer images."""
    return min(BATCH_SIZE, len(labels))


def compile_model(model, labels, epochs, **arguments):
    """Compiles with SGD, momentum 0.9 and a cosine; returns the steps of an epoch."""
    steps = len(labels) // batch_size(labels)
    schedule = keras.optimizers.schedules.CosineDecay(LEARNING_RATE, epochs * steps)
    model.compile(
        keras.optimizers.SGD(schedule, momentum=0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        **arguments,
    )
    return steps


def train_teacher(folder, path, epochs, examples=None):
    """Trains the teacher, with images mirrored at random; returns its accuracy.

    Args:
        folder: The folder of IDX files.
        path: Where its weights go.
        epochs: Integer.
        examples: Integer, trains on so many training images, the first ones. `None`:
            on all.
    """
    data = load(folder)
    images, labels = (array[:examples] for array in data["train"])
    keras.utils.set_random_seed(0)
    teacher = build_model("fashion_teacher", images.shape[1:], 10)
    steps = compile_model(teacher, labels, epochs)
    teacher.fit(
        batches(images, labels, seed=0, flip=True),
        epochs=epochs,
        steps_per_epoch=steps,
        verbose=0,
    )
    teacher.save_weights(path)
    return test_accuracy(teacher, data["test"])


def test_accuracy(model, test):
    """Returns the accuracy on the test images."""
    size = min(1000, len(test[1]))
    return model.evaluate(*test, batch_size=size, verbose=0, return_dict=True)[
        "accuracy"
    ]


class Row:
    """One method in one regime, for one seed after the other.

    All seeds share one distiller, which is compiled once: its variables are given
    the values that a new distiller of the seed begins with.

    Args:
        job: Dict of `row`, `data`, `teacher_file`, `per_class` and `epochs`.
    """

    def __init__(self, job):
        self._job = job
        self._data = load(job["data"])
        shape = self._data["train"][0].shape[1:]
        self._teacher = build_model("fashion_teacher", shape, 10)
        self._teacher.load_weights(job["teacher_file"])
        self._distiller = None

    def train(self, seed):
        """Trains one student; returns its accuracy on the test images."""
        images, labels = self._data["train"]
        if self._job["per_class"]:
            chosen = balanced_subset(labels, self._job["per_class"], seed)
            images, labels = images[chosen], labels[chosen]
        new = self._new_distiller(seed)
        if self._distiller is None:
            self._steps = compile_model(
                new, labels, self._job["epochs"], preflight=False
            )
            self._distiller = new
        else:
            begin_again(self._distiller, new)
        self._distiller.fit(
            batches(images, labels, seed),
            epochs=self._job["epochs"],
            steps_per_epoch=self._steps,
            verbose=0,
        )
        return test_accuracy(self._distiller, self._data["test"])

    def _new_distiller(self, seed):
        # The student first: its weights must not depend on the method.
        keras.utils.set_random_seed(seed)
        student = build_model("fashion_student", self._teacher.input_shape[1:], 10)
        kind, weight = ROWS[self._job["row"]]
        return Distiller(self._teacher, student, METHODS[kind](weight))


def begin_again(distiller, new):
    """Gives a trained distiller the values of a new one, and a new optimizer's.

    Args:
        distiller: A compiled `Distiller` that has trained.
        new: A `Distiller` of the same models and methods, not compiled.
    """
    for old, start in (
        (distiller.student.variables, new.student.variables),
        *(
            (method.variables, other.variables)
            for method, other in zip(distiller.methods, new.methods, strict=True)
        ),
    ):
        for variable, value in zip(old, start, strict=True):
            variable.assign(value)
    for variable in distiller.optimizer.variables:
        variable.assign(np.zeros(variable.shape))
