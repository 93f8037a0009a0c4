"""Trains one student of `fashion.py`, in a process of its own.

A TensorFlow graph without XLA is the fastest on one core of a CPU. A student with
DiffKD on features and logits, 5,000 images and 25 epochs, takes 34 s of processor time;
with XLA 58 s on TensorFlow and 70 s on JAX, in compiling as well as in steps. A
distiller that is used for seed after seed would save its tracing, 3 s, but start with
the state of the last one.
"""

import dataclasses
import functools
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from fashion_data import STORED, FashionData
from fashion_methods import METHODS, PRETRAINED, VARIANTS
from fashion_runs import STUDENTS
from fashion_variants import PRETRAINING_STEPS, diffusion_alone
from gpu_fashion import BATCH_SIZE
from report import describe_machine, revision

from keras_diffkd import Distiller
from keras_diffkd.models.fashion import fashion_net

FACTORIES = METHODS | {name: factory for name, (factory, _) in VARIANTS.items()}
# Steps in one call of TensorFlow: a divisor of the 39 and of the 468 of an epoch.
STEPS_PER_EXECUTION = 13


@dataclasses.dataclass(frozen=True)
class Files:
    """Where everything is.

    Args:
        data_dir: Folder of IDX files.
        teacher: File of the teacher's weights.
        cache: Folder of the teacher's outputs.
    """

    data_dir: Path
    teacher: Path
    cache: Path


def begin_process():
    """Gives a worker process one core, and no warnings that each run traces anew."""
    tf.get_logger().setLevel("ERROR")
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)


@functools.cache
def load_data(files):
    """Returns the `FashionData`, read once in each process."""
    return FashionData(files.data_dir, files.teacher, files.cache)


def train_student(task, files, regime):
    """Trains one student.

    Args:
        task: A `Task`.
        files: The `Files`.
        regime: The `Regime` of the task.

    Returns:
        The record of a JSON line.
    """
    data = load_data(files)
    start, busy = time.perf_counter(), time.process_time()
    keras.utils.clear_session()
    distiller = make_distiller(task, data)
    balanced, gammas = fit(distiller, task, data, regime)
    accuracy = judge(distiller.strip(), *data.judged_on(task.stage))
    return {
        **task._asdict(),
        "epochs": regime.epochs,
        "teacher": data.teacher.fingerprint,
        "accuracy": accuracy,
        "balanced": balanced,
        "gammas": gammas,
        "seconds": round(time.perf_counter() - start, 1),
        "processor_seconds": round(time.process_time() - busy, 1),
        "revision": revision(),
        "machine": describe_machine(),
    }


def make_distiller(task, data):
    """Builds what trains one student with one method."""
    # The student first: its initial weights must not depend on the method.
    keras.utils.set_random_seed(task.seed)
    student = fashion_net(
        data.images.shape[1:],
        10,
        widths=STUDENTS[task.student],
        blocks_per_stage=1,
        name="student",
    )
    methods = FACTORIES[task.method](task.weight)
    return stored_distiller(student, methods, data)


def stored_distiller(student, methods, data, quantization=None):
    """Returns a distiller with the stored outputs of the teacher."""
    teacher = data.teacher.model(taps_of(methods))
    names = [tensor.name for tensor in teacher.inputs]
    return Distiller(
        teacher,
        student,
        methods,
        teacher_preprocess=lambda batch: {name: batch[name] for name in names},
        quantization=quantization,
    )


def taps_of(methods):
    """Returns the stored outputs that methods read; all methods may read logits."""
    tapped = {tap for method in methods for tap in np.ravel(method.teacher_tap)}
    return [name for name in STORED if name in {*tapped, "features"}]


def fit(distiller, task, data, regime, callbacks=()):
    """Trains; returns two dicts.

    The first one is from the losses with balanced weights to these weights, the second
    one from the methods that adapt the noise to the γ of each epoch.
    """
    per_class = regime.per_class
    labels = data.labels[: data.examples(task.stage)]
    labeled = len(np.unique(labels)) * per_class if per_class else len(labels)
    batch_size = min(BATCH_SIZE, labeled)
    steps = regime.steps_per_epoch or labeled // batch_size
    train = functools.partial(train_steps, distiller, task, data, regime, batch_size)
    if task.method == PRETRAINED:
        with diffusion_alone(distiller):
            train(make_optimizer(task), 1, PRETRAINING_STEPS)
    optimizer = make_optimizer(task, steps * regime.epochs)
    history = train(optimizer, regime.epochs, steps, callbacks=callbacks)
    balance = distiller.loss_balance
    weights = {} if balance is None else balance.weights_by_name()
    return (
        {name: float(weight) for name, weight in weights.items()},
        {
            name.removesuffix("/gamma"): [round(float(value), 4) for value in values]
            for name, values in history.items()
            if name.endswith("/gamma")
        },
    )


def train_steps(
    distiller, task, data, regime, batch_size, optimizer, epochs, steps, callbacks=()
):
    """Compiles and trains, from the first batch on; returns the logs of the epochs."""
    distiller.compile(
        optimizer,
        # The mean over the labeled images, the others have weight 0.
        keras.losses.SparseCategoricalCrossentropy(
            from_logits=True, reduction="mean_with_sample_weight"
        ),
        steps_per_execution=STEPS_PER_EXECUTION,
        preflight=False,
    )
    taps = taps_of(distiller.methods)
    history = distiller.fit(
        data.batches(task.stage, regime, task.seed, batch_size, taps),
        epochs=epochs,
        steps_per_epoch=steps,
        shuffle=False,
        callbacks=list(callbacks),
        verbose=0,
    )
    return history.history


def make_optimizer(task, steps=None):
    """Returns the optimizer of a task, with a cosine over `steps` if it is given."""
    schedule = task.learning_rate
    if steps is not None:
        schedule = keras.optimizers.schedules.CosineDecay(task.learning_rate, steps)
    if task.optimizer == "adamw":
        return keras.optimizers.AdamW(schedule)
    return keras.optimizers.SGD(schedule, momentum=0.9)


def judge(student, images, labels):
    """Returns the accuracy, after the training and nowhere else."""
    logits = student.predict(images, batch_size=min(1000, len(labels)), verbose=0)
    return float(np.mean(np.argmax(logits, axis=-1) == labels))
