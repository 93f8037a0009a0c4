"""Trains teachers and students on digits, in parallel, and remembers the results."""

import functools
import multiprocessing
import time

import keras
import tensorflow as tf
from digits_methods import ABLATIONS, METHODS
from finished_runs import FinishedRuns

from keras_diffkd import Distiller
from keras_diffkd.datasets import load_classification
from keras_diffkd.models import build_model

BATCH_SIZE = 64
MOMENTUM = 0.9
TEACHER_LEARNING_RATE = 0.1
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


def train(model, stage, seed, learning_rate, settings):
    """Trains on the stage's data; returns the accuracy on what it is tested on."""
    data = load_classification(
        "digits",
        data_dir=settings["data_dir"],
        batch_size=BATCH_SIZE,
        seed=seed,
        **SPLITS[stage],
    )
    steps = settings["epochs"] * data.steps_per_epoch
    model.compile(
        optimizer(learning_rate, steps),
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


def optimizer(learning_rate, steps):
    """Returns SGD with momentum and a cosine."""
    schedule = keras.optimizers.schedules.CosineDecay(learning_rate, steps)
    return keras.optimizers.SGD(schedule, momentum=MOMENTUM)


def train_teacher(stage, settings):
    """Trains the teacher of a stage; returns `(weights, accuracy)`."""
    teacher = build("digits_teacher", seed=0)
    accuracy = train(teacher, stage, 0, TEACHER_LEARNING_RATE, settings)
    return teacher.get_weights(), accuracy


def make_distiller(method, weight, seed, teacher_weights):
    """Builds what trains one student with one method."""
    teacher = build("digits_teacher", seed=0)
    teacher.set_weights(teacher_weights)
    # The student first: its initial weights must not depend on the method.
    student = build("digits_student", seed)
    factory = {**METHODS, **ABLATIONS}[method]
    return Distiller(teacher, student, factory(weight))


def train_student(task, teachers, settings):
    """Trains one student; returns the record of a JSON line."""
    stage, method, learning_rate, weight, seed = task
    start = time.perf_counter()
    keras.utils.clear_session()
    distiller = make_distiller(method, weight, seed, teachers[stage])
    accuracy = train(distiller, stage, seed, learning_rate, settings)
    return {
        "settings": settings,
        "task": task,
        "accuracy": accuracy,
        "seconds": round(time.perf_counter() - start, 1),
    }


def limit_threads():
    """Gives each worker process one core."""
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)


class Runs:
    """Trains students and keeps their accuracies, also in a file.

    Args:
        settings: Dict with `epochs` and `data_dir`.
        path: File of one JSON line for each run that is done. A benchmark that was
            interrupted goes on from there.
        workers: Integer, processes.
    """

    def __init__(self, settings, path, workers):
        def task_of(record):
            same = record["settings"] == settings
            return tuple(record["task"]) if same else None

        self.settings = settings
        self.workers = workers
        self.teachers = {}
        self._finished = FinishedRuns(path, task_of)

    def train_teachers(self):
        """Trains the teachers of both stages; returns their accuracies."""
        accuracies = {}
        # In a process of its own, so that it uses all cores and leaves none behind.
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            for stage in SPLITS:
                self.teachers[stage], accuracies[stage] = pool.apply(
                    train_teacher, (stage, self.settings)
                )
                print(f"teacher ({stage}): {accuracies[stage]:.4f}", flush=True)
        return accuracies

    def run(self, tasks):
        """Trains what is missing of the tasks; returns accuracies in their order.

        Args:
            tasks: List of `(stage, method, learning rate, weight, seed)`.
        """
        job = functools.partial(
            train_student, teachers=self.teachers, settings=self.settings
        )
        self._finished.run(
            job, tasks, self.workers, limit_threads, kind=lambda task: task[1]
        )
        return [self._finished.records[task]["accuracy"] for task in tasks]
