"""Seconds per training step with a teacher and with its stored outputs.

    python benchmarks/cached_steps.py

All cases take turns in one process. The images are digits, resized. It prints a table
in Markdown for each pair of networks: medians over the turns, what the cache takes to
build and on the disk, and how long batches take to read.
"""

import os
import statistics
import tempfile
import time

from absl import app, flags

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras

from keras_diffkd import DiffKD, Distiller, LogitsKD
from keras_diffkd.datasets import load_classification
from keras_diffkd.models import build_model
from keras_diffkd.teacher_cache import CacheBuilder, stored_outputs

TURNS = flags.DEFINE_integer("turns", 9, "Timed steps of each case.", lower_bound=1)
DATA_DIR = flags.DEFINE_string("data_dir", None, "TFDS data folder.")
PAIRS = flags.DEFINE_list("pairs", ["cifar", "imagenet"], "Pairs of networks.")
KNOWN = {
    # teacher, student, size of the images, images, batch size, latent channels
    "cifar": ("wrn_40_2", "wrn_40_1", 32, 1000, 64, None),
    "imagenet": ("resnet50", "mobilenet_v1", 224, 64, 8, 1024),
}
CLASSES = 10


def main(argv):
    """Prints a table for each pair."""
    del argv
    for name in PAIRS.value:
        print(measure(*KNOWN[name]), flush=True)


def measure(teacher, student, size, images, batch_size, latent_channels):
    """Returns the table of one pair of networks.

    Args:
        teacher: Name of a network.
        student: Name of a network.
        size: Integer, the side of the images.
        images: Integer.
        batch_size: Integer.
        latent_channels: As for `DiffKD`.
    """
    data = load_classification(
        "digits",
        data_dir=DATA_DIR.value,
        batch_size=batch_size,
        views=1,
        image_size=size,
        train_split=f"train[:{images}]",
    )
    title = f"{teacher} to {student}, {size}x{size}, batch {batch_size}"
    keras.utils.set_random_seed(0)
    shape = (size, size, 1)
    teacher = build_model(teacher, shape, CLASSES)
    factories = {
        "kd": lambda: [LogitsKD()],
        "diffkd": lambda: [
            DiffKD("features", "features", latent_channels=latent_channels)
        ],
    }
    with tempfile.TemporaryDirectory() as folder:
        builder = CacheBuilder(
            f"{folder}/cache", teacher, data.views, taps=["features"]
        )
        started = time.perf_counter()
        cache = builder.build()
        built = (time.perf_counter() - started) * 1000 / images
        cases = {
            f"{name}, {source}": _case(make(), teacher, student, shape, data, stored)
            for name, make in factories.items()
            for source, stored in (("teacher", None), ("cache", cache))
        }
        seconds = _in_turns(cases)
        reading = {"images": data.train}
        reading |= {name: each[1] for name, each in cases.items() if "cache" in name}
        read = [
            f"{name} {_milliseconds(each):.1f} ms" for name, each in reading.items()
        ]
    megabytes = builder.num_bytes * 1000 / images / 1e6
    lines = [
        f"{title}\n",
        "| | seconds per step |",
        "| --- | --- |",
        *(f"| {name} | {median:.3f} |" for name, median in seconds.items()),
        f"\n1,000 views: {built:.1f} s to build, {megabytes:.1f} MB",
        f"a batch takes to read: {', '.join(read)}\n",
    ]
    return "\n".join(lines)


def _case(methods, teacher, student, shape, data, cache):
    """Returns `(distiller, batches)`."""
    student = build_model(student, shape, CLASSES)
    if cache is None:
        distiller, batches = Distiller(teacher, student, methods), data.train
    else:
        distiller = Distiller(
            cache.teacher(methods), student, methods, teacher_preprocess=stored_outputs
        )
        batches = cache.batches(data.views, distiller)
    distiller.compile(
        keras.optimizers.SGD(1e-5),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        preflight=False,
    )
    return distiller, batches


def _in_turns(cases):
    """Returns a dict from case to the median of its seconds per step."""
    iterators = {name: iter(batches) for name, (_, batches) in cases.items()}
    seconds = {name: [] for name in cases}
    for turn in range(TURNS.value + 1):
        for name, (distiller, _) in cases.items():
            x, y = next(iterators[name])
            started = time.perf_counter()
            distiller.train_on_batch(x, y)
            if turn:  # The first includes the compilation.
                seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(each) for name, each in seconds.items()}


def _milliseconds(batches, count=30):
    iterator = iter(batches)
    next(iterator)
    started = time.perf_counter()
    for _ in range(count):
        next(iterator)
    return (time.perf_counter() - started) * 1000 / count


if __name__ == "__main__":
    app.run(main)
