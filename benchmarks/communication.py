"""How much workers tell each other in a step, and how long that takes.

    python benchmarks/communication.py

A ring all-reduce of `M` bytes over `N` workers sends and receives `2 (N - 1) / N M`
bytes on every worker. `M` is the float32 gradients of student and heads, and the
moving statistics, both counted from the real models. What is computed here is a lower
bound of the time: bandwidth alone, without latency and without overlap. Prints the
tables and writes them into docs/scaling.md.
"""

import math
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from absl import app, flags
from report import markdown_table, write_section

from keras_diffkd import DiffKD, Distiller
from keras_diffkd.models import build_model

flags.DEFINE_string("output", "docs/scaling.md", "File to write the tables into.")

PAIRS = {
    # teacher, student, input shape, classes, latent channels
    "WRN-40-2 to WRN-40-1": ("wrn_40_2", "wrn_40_1", (32, 32, 3), 100, None),
    "ResNet-34 to ResNet-18": ("resnet34", "resnet18", (224, 224, 3), 1000, 1024),
    "ResNet-50 to MobileNetV1": ("resnet50", "mobilenet_v1", (224, 224, 3), 1000, 1024),
}
WORKERS = (2, 8, 32, 128, 512)
# Bytes per second and worker, each way.
NETWORKS = {"10 Gbit/s": 1.25e9, "100 Gbit/s": 12.5e9, "NVLink, 450 GB/s": 450e9}


def all_reduce_bytes(message, workers):
    """Returns the bytes that every worker sends (and receives) in a ring.

    Args:
        message: Bytes that each worker has to reduce.
        workers: Integer, number of workers.
    """
    return 2 * (workers - 1) / workers * message


def message_bytes(distiller):
    """Returns the bytes that a step reduces: gradients and moving statistics."""
    gradients = sum(math.prod(v.shape) for v in distiller.trainable_variables)
    statistics = sum(
        math.prod(v.shape)
        for v in distiller.non_trainable_variables
        if v.dtype.startswith("float")
    )
    return 4 * gradients, 4 * statistics


def make_distiller(teacher, student, shape, classes, latent_channels):
    """Builds what trains a pair with DiffKD on features and logits."""
    methods = [
        DiffKD("features", "features", latent_channels=latent_channels, name="f"),
        DiffKD(distance="kl", name="l"),
    ]
    return Distiller(
        build_model(teacher, shape, classes),
        build_model(student, shape, classes),
        methods,
    )


def main(argv):
    """Prints and writes the tables."""
    del argv
    sizes, times = [], []
    for title, pair in PAIRS.items():
        distiller = make_distiller(*pair)
        gradients, statistics = message_bytes(distiller)
        student = 4 * distiller.student.count_params()
        sent = [all_reduce_bytes(gradients + statistics, n) for n in WORKERS]
        sizes.append(
            [
                title,
                f"{student / 1e6:.1f}",
                f"{gradients / 1e6:.1f}",
                f"{statistics / 1e6:.2f}",
                *(f"{size / 1e6:.1f}" for size in sent),
            ]
        )
        for network, bandwidth in NETWORKS.items():
            milliseconds = [f"{1e3 * size / bandwidth:.2f}" for size in sent]
            times.append([title, network, *milliseconds])
    columns = [f"{n} workers" for n in WORKERS]
    text = f"""\
DiffKD on features and logits; megabytes. Sent by every worker in a step:

{markdown_table(["pair", "student", "gradients", "statistics", *columns], sizes)}

Milliseconds for that at the network's bandwidth:

{markdown_table(["pair", "network", *columns], times)}

Command: `python benchmarks/communication.py`."""
    print(text)
    write_section(flags.FLAGS.output, "Communication in numbers", text)


if __name__ == "__main__":
    app.run(main)
