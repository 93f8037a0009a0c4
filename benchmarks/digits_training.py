"""Trains teachers and students on digits, in parallel, and remembers the results."""

import functools
import multiprocessing
import time

import keras
import tensorflow as tf
from digits_methods import ABLATIONS, KD_FEATURES, METHODS, kd_features
from finished_runs import FinishedRuns
from report import describe_machine, revision

from keras_diffkd import Distiller
from keras_diffkd.datasets import load_classification
from keras_diffkd.models import build_model

BATCH_SIZE = 64
MOMENTUM = 0.9
TEACHER_LEARNING_RATE = 0.1
FACTORIES = {**METHODS, **ABLATIONS, KD_FEATURES: kd_features}
# Reporting: trained on the whole training split, tested on the test split. Tuning:
# a part of the training split is held out; the test split is not looked at.
SPLITS = {
    "report": {"train_split": "train", "test_split": "test"},
    "tune": {"train_split": "train[:80%]", "test_split": "train[80%:]"},
}


def build(name, seed):
    """Builds a model of the zoo with weights drawn from `seed`."""
    keras.utils.set_random_seed(seed)
    return build_model(name, (8, 8, 1), 10)


def train(model, stage, seed, learning_rate, settings, data_dir):
    """Trains on the stage's data; returns the test accuracy of that stage."""
    data = load_classification(
        "digits",
        data_dir=data_dir,
        batch_size=BATCH_SIZE,
        seed=seed,
        **SPLITS[stage],
    )
    steps = settings["epochs"] * data.steps_per_epoch
    model.compile(
        optimizer(learning_rate, steps, settings.get("optimizer", "sgd")),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=False,
    )
    model.fit(
        data.train,
        epochs=settings["epochs"],
        steps_per_epoch=data.steps_per_epoch,
        shuffle=False,
        verbose=0,
    )
    return model.evaluate(data.test, verbose=0, return_dict=True)["accuracy"]


def optimizer(learning_rate, steps, name="sgd"):
    """Returns SGD with momentum, or AdamW, with a cosine."""
    schedule = keras.optimizers.schedules.CosineDecay(learning_rate, steps)
    if name == "adamw":
        return keras.optimizers.AdamW(schedule)
    return keras.optimizers.SGD(schedule, momentum=MOMENTUM)


def train_teacher(stage, settings, data_dir):
    """Trains the teacher of a stage by SGD; returns `(weights, accuracy)`."""
    teacher = build("digits_teacher", seed=0)
    settings = {**settings, "optimizer": "sgd"}
    accuracy = train(teacher, stage, 0, TEACHER_LEARNING_RATE, settings, data_dir)
    return teacher.get_weights(), accuracy


def make_distiller(method, weight, seed, teacher_weights):
    """Builds the distiller of one student."""
    teacher = build("digits_teacher", seed=0)
    teacher.set_weights(teacher_weights)
    # The student first: its initial weights must not depend on the method.
    student = build("digits_student", seed)
    return Distiller(teacher, student, FACTORIES[method](weight))


def train_student(task, teachers, settings, data_dir):
    """Trains one student; returns the record of a JSON line."""
    stage, method, learning_rate, weight, seed = task
    start = time.perf_counter()
    keras.utils.clear_session()
    distiller = make_distiller(method, weight, seed, teachers[stage])
    accuracy = train(distiller, stage, seed, learning_rate, settings, data_dir)
    return {
        "settings": settings,
        "task": task,
        "accuracy": accuracy,
        "seconds": round(time.perf_counter() - start, 1),
        "revision": revision(),
        "machine": describe_machine(),
    }


def limit_threads():
    """Gives each worker process one core."""
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)


class Runs:
    """Trains students and keeps their accuracies, also in a file.

    Args:
        settings: Dict with `epochs` and optionally `optimizer`.
        path: File of one JSON line for each run that is done. A benchmark that was
            interrupted goes on from there.
        workers: Integer, processes.
        data_dir: Folder of prepared data sets, or `None`.
        teachers: Optional dict from stage to weights of a teacher that is trained.
    """

    def __init__(self, settings, path, workers, data_dir, teachers=None):
        def task_of(record):
            same = record["settings"] == settings
            return tuple(record["task"]) if same else None

        self.settings = settings
        self.workers, self.data_dir = workers, data_dir
        self.teachers = dict(teachers or {})
        self._finished = FinishedRuns(path, task_of)

    def train_teachers(self, stages=tuple(SPLITS)):
        """Trains the teachers of the stages; returns their accuracies."""
        accuracies = {}
        # In a process of its own, so that it uses all cores and leaves none behind.
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            for stage in stages:
                self.teachers[stage], accuracies[stage] = pool.apply(
                    train_teacher, (stage, self.settings, self.data_dir)
                )
                print(f"teacher ({stage}): {accuracies[stage]:.4f}", flush=True)
        return accuracies

    def run(self, tasks):
        """Trains what is missing of the tasks; returns accuracies in their order.

        Args:
            tasks: List of `(stage, method, learning rate, weight, seed)`.
        """
        job = functools.partial(
            train_student,
            teachers=self.teachers,
            settings=self.settings,
            data_dir=self.data_dir,
        )
        self._finished.run(
            job, tasks, self.workers, limit_threads, kind=lambda task: task[1]
        )
        return [self._finished.records[task]["accuracy"] for task in tasks]
