"""Students of `quantization_aware.py`: what is trained, and what its int8 files do."""

import functools
import time
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import quantization_scenes as scenes
from digits_methods import BALANCED, KD_FEATURES
from fashion_data import FashionData
from fashion_methods import METHODS
from fashion_runs import STUDENTS, Regime
from fashion_training import (
    STEPS_PER_EXECUTION,
    stored_distiller,
    taps_of,
)
from int8_report import int8_report
from quantization_scenes import SCENES
from report import describe_machine, revision

from keras_diffkd import QuantizationAware
from keras_diffkd.models.fashion import fashion_net
from keras_diffkd.recipes.methods_first import frozen

TEACHER = Path(__file__).parent / "runs" / "fashion" / "teacher.weights.h5"
REGIME = Regime("all images labeled", None, 1)
BATCH_SIZE = 128
# Steps and learning rate of the float student, and of what follows.
FIRST, FURTHER = (2340, 0.05), (936, 0.01)
CALIBRATION_SAMPLES = 256
FLOAT, ALONE, KD, KD_DIFFKD = "float", "no teacher", "KD", KD_FEATURES
DIFFKD = "DiffKD (features)"
# Of pixels.
KD_1, KD_1_DIFFKD = "KD, temperature 1", "KD, temperature 1, DiffKD"
# Ends the names of arms in which the methods' own layers train first.
FIRST_OF_ALL = ", methods first"
KD_DIFFKD_FIRST, DIFFKD_FIRST, KD_1_DIFFKD_FIRST = (
    f"{arm}{FIRST_OF_ALL}" for arm in (KD_DIFFKD, DIFFKD, KD_1_DIFFKD)
)
ARMS = (FLOAT, ALONE, KD, KD_DIFFKD)
# The rate, and steps of one epoch, of the methods' own layers.
METHOD_STEPS = (468, 0.05)
MOBILENET, RESNET = "MobileNetV2, width 0.35", "ResNet, 20k weights"
# Expansion, channels at width 1, blocks and stride of the stages of MobileNetV2; the
# strides are those for 28x28 pixels, so that 4x4 are left.
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 1),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 1),
)


class Task(NamedTuple):
    """One further training of a float student."""

    student: str
    arm: str
    seed: int


class Files(NamedTuple):
    """Where everything is: data, the outputs of a teacher, and float students."""

    fashion_data: Path
    cache: Path
    bases: Path
    scenes_data: Path


def mobilenet_v2(width=0.35):
    """Returns a MobileNetV2 for Fashion-MNIST.

    Source: Sandler et al., "MobileNetV2" (arXiv 1801.04381).
    """
    image = keras.Input((28, 28, 1), name="image")
    x = _conv(image, 16, 3, 2)
    for expansion, channels, count, stride in STAGES:
        for index in range(count):
            x = _inverted(
                x, expansion, _round(channels * width), 1 if index else stride
            )
    x = _conv(x, 128, 1, 1)
    x = keras.layers.Identity(name="features")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, keras.layers.Dense(10, name="logits")(x), name="student")


def _inverted(x, expansion, channels, stride):
    inputs, inner = x, expansion * x.shape[-1]
    if expansion > 1:
        x = _conv(x, inner, 1, 1)
    x = keras.layers.DepthwiseConv2D(3, stride, "same", use_bias=False)(x)
    x = keras.layers.ReLU(6.0)(_normalized(x))
    x = _normalized(keras.layers.Conv2D(channels, 1, use_bias=False)(x))
    is_residual = stride == 1 and channels == inputs.shape[-1]
    return keras.layers.Add()([x, inputs]) if is_residual else x


def _conv(x, channels, size, stride):
    x = keras.layers.Conv2D(channels, size, stride, "same", use_bias=False)(x)
    return keras.layers.ReLU(6.0)(_normalized(x))


def _normalized(x):
    return keras.layers.BatchNormalization(momentum=0.9)(x)


def _round(channels):
    """Returns the multiple of 8 that is closest, at least 8."""
    return max(8, int(channels + 4) // 8 * 8)


def resnet():
    """Returns the student of benchmarks/fashion.py."""
    widths = STUDENTS["20k"]
    return fashion_net(
        (28, 28, 1), 10, widths=widths, blocks_per_stage=1, name="student"
    )


NETWORKS = {MOBILENET: mobilenet_v2, RESNET: resnet}
STUDENT_ARMS = {
    MOBILENET: ARMS,
    RESNET: (*ARMS, KD_DIFFKD_FIRST),
    scenes.SEGMENTER: (*ARMS, KD_1, KD_1_DIFFKD_FIRST),
    # It has no class scores of whole images.
    scenes.DETECTOR: (FLOAT, ALONE, DIFFKD, DIFFKD_FIRST),
}


@functools.cache
def load_data(files):
    """Returns the `FashionData`, read once in each process."""
    return FashionData(files.fashion_data, TEACHER, files.cache)


def train_student(task, files):
    """Trains one student further, exports it, and returns the record of a line."""
    start, busy = time.perf_counter(), time.process_time()
    keras.utils.clear_session()
    quantization = None if task.arm == FLOAT else QuantizationAware()
    train = train_scenes if task.student in SCENES else train_fashion
    distiller, metric, steps, measured = train(task, files, quantization)
    ranges = None if quantization is None else distiller.quantization_ranges()
    student = distiller.strip()
    found = measure(student, metric, ranges, **measured)
    return {
        **task._asdict(),
        "metric": metric,
        "accuracy": found["keras"],  # Of the float student.
        **found,
        "parameters": student.count_params(),
        "steps": steps,
        "seconds": round(time.perf_counter() - start, 1),
        "processor_seconds": round(time.process_time() - busy, 1),
        "revision": revision(),
        "machine": describe_machine(),
    }


def train_fashion(task, files, quantization):
    """Trains a classifier of Fashion-MNIST further.

    Returns:
        `(distiller, metric, steps, options)`, the last for `measure`.
    """
    data = load_data(files)
    student = float_student(task, data, files.bases)
    methods = METHODS.get(task.arm.removesuffix(FIRST_OF_ALL))
    methods = methods(BALANCED) if methods else []
    keras.utils.set_random_seed(task.seed)
    distiller = stored_distiller(student, methods, data, quantization)
    if task.arm.endswith(FIRST_OF_ALL):
        with frozen(student):
            fit(distiller, data, task.seed, *METHOD_STEPS)
    fit(distiller, data, task.seed, *FURTHER)
    chosen = np.linspace(0, len(data.images) - 1, CALIBRATION_SAMPLES).astype(int)
    options = {"samples": data.test, "calibration_samples": data.images[chosen]}
    return distiller, "accuracy", [FIRST[0], FURTHER[0]], options


def train_scenes(task, files, quantization):
    """Trains a segmenter or detector of digit scenes further, as `train_fashion`."""
    data = scenes.load_scenes(task.student, files.scenes_data)
    paths = scenes.base_models(task.student, task.seed, files.bases, files.scenes_data)
    arms = {
        KD: ["KD"],
        KD_1: ["KD, temperature 1"],
        DIFFKD: ["DiffKD"],
        KD_DIFFKD: ["KD", "DiffKD"],
        KD_1_DIFFKD: ["KD, temperature 1", "DiffKD"],
    }
    distiller = scenes.train_further(
        task.student,
        arms.get(task.arm.removesuffix(FIRST_OF_ALL), []),
        task.seed,
        paths,
        data,
        quantization,
        methods_first=task.arm.endswith(FIRST_OF_ALL),
    )
    kind, _, metric, *_ = SCENES[task.student]
    options = {
        "samples": scenes.test_samples(data),
        "calibration_samples": scenes.calibration_images(data),
        "metrics": kind.metrics(distiller.strip(), data),
    }
    epochs = (scenes.FIRST_EPOCHS, scenes.FURTHER_EPOCHS)
    steps = [count * data.steps_per_epoch for count in epochs]
    return distiller, metric, steps, options


def float_student(task, data, bases):
    """Returns the float student from which all arms of a seed go on."""
    keras.utils.set_random_seed(task.seed)
    student = NETWORKS[task.student]()
    path = bases / f"{student.count_params()}_{task.seed}.weights.h5"
    if not path.exists():
        fit(stored_distiller(student, [], data), data, task.seed, *FIRST)
        bases.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f"unfinished_{path.name}")
        student.save_weights(aside)
        aside.rename(path)
    student.load_weights(path)
    return student


def fit(distiller, data, seed, steps, rate):
    """Trains with a falling learning rate."""
    schedule = keras.optimizers.schedules.CosineDecay(rate, steps)
    distiller.compile(
        keras.optimizers.SGD(schedule, momentum=0.9),
        keras.losses.SparseCategoricalCrossentropy(
            from_logits=True, reduction="mean_with_sample_weight"
        ),
        steps_per_execution=STEPS_PER_EXECUTION,
        preflight=False,
    )
    batches = data.batches(
        "report", REGIME, seed, BATCH_SIZE, taps_of(distiller.methods)
    )
    distiller.fit(batches, steps_per_epoch=steps, shuffle=False, verbose=0)


def measure(student, metric, ranges, calibration_samples, **options):
    """Measures a float student and its int8 files on the test images.

    Returns:
        Dict of `keras`, the metric of the float student, and by format `value`, that of
        the file, and with learned ranges `mean_steps`, `max_steps` and `agreement` with
        the simulation.
    """
    if ranges is None:
        options["calibration_samples"] = calibration_samples
    report = int8_report(student, ranges=ranges, quantized_tolerance=1.0, **options)
    found = {"keras": report["keras"][metric]}
    for name, result in report["artifacts"].items():
        found[name] = {"value": result[metric], **result.get("simulation", {})}
    return found
