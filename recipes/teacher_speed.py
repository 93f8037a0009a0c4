"""Tells whether a teacher in half precision is slower than in its own."""

import sys
import time

import numpy as np

from keras_diffkd.training import fused_batch_normalization

from . import flags
from .preflight import say
from .tasks.task import forward

# Images of the batch that is measured, at most.
IMAGES = 16
# Runs of each teacher. The first one is not timed, because it traces.
RUNS = 4
# Below this, a ratio may be noise.
SLOWER = 1.1


def warn_if_slower(teacher, converted, data):
    """Measures a batch of each teacher, and prints a warning if half precision loses.

    Processors without instructions for bfloat16 compute it in float32, and convert
    before and after each operation.

    Args:
        teacher: `keras.Model`.
        converted: the same `keras.Model` with the policy of `--teacher_dtype`.
        data: data set of the task.
    """
    policy = flags.TEACHER_DTYPE.value
    if policy == "float32":
        return
    count = min(IMAGES, flags.BATCH_SIZE.value)
    rng = np.random.default_rng(0)
    images = rng.normal(size=(count, *data.image_shape)).astype("float32")
    # As a distiller runs it.
    with fused_batch_normalization(teacher, converted):
        before, after = seconds_per_run([forward(teacher), forward(converted)], images)
    if after > SLOWER * before:
        say(
            f"warning: --teacher_dtype={policy} makes the teacher slower on this "
            f"device: {after:.3f} s instead of {before:.3f} s for {count} images, "
            f"{after / before:.2f} times as long. Leave the flag out",
            file=sys.stderr,
        )


def seconds_per_run(functions, images):
    """Returns the shortest time of each function, measured in turns.

    Args:
        functions: list of functions from `forward`.
        images: array, the batch.
    """
    seconds = [[] for _ in functions]
    for run in range(RUNS):
        for function, found in zip(functions, seconds, strict=True):
            started = time.perf_counter()
            function(images)
            if run:
                found.append(time.perf_counter() - started)
    return [min(found) for found in seconds]
