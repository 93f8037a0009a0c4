"""Measures the memory that gradient checkpointing saves in a step.

    python benchmarks/checkpointing.py

A student whose blocks run under `keras.remat`, and the same without, are trained in a
Distiller with FitNet and LogitsKD. A process of its own runs each backend and setting.
Writes into docs/results.md.
"""

import json
import os
import resource
import statistics
import subprocess
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from absl import app, flags
from report import describe_machine, markdown_table, write_section

from keras_diffkd import Distiller, FitNet, LogitsKD

OUTPUT = flags.DEFINE_string("output", "docs/results.md", "File to write into.")
BLOCKS, WIDTH, BATCH, RUNS = 8, 32, 64, 3
SETTINGS = {
    "JAX": ("jax", "true"),
    "TensorFlow, graph": ("tensorflow", "false"),
    "TensorFlow, XLA": ("tensorflow", "true"),
}


class Block(keras.layers.Layer):
    """Four convolutions and a shortcut, checkpointed or not."""

    def __init__(self, remat, **kwargs):
        super().__init__(**kwargs)
        self.convolutions = [
            keras.layers.Conv2D(WIDTH, 3, padding="same", activation="relu")
            for _ in range(4)
        ]
        self.remat = keras.remat if remat else lambda f: f

    def build(self, shape):
        for convolution in self.convolutions:
            convolution.build(shape)

    def compute(self, x):
        y = x
        for convolution in self.convolutions:
            y = convolution(y)
        return x + y

    def call(self, x):
        return self.remat(self.compute)(x)


def model(blocks, remat=False):
    """Returns a classifier of 32x32 images with one feature map to tap."""
    x = image = keras.Input((32, 32, WIDTH))
    for _ in range(blocks):
        x = Block(remat)(x)
    x = keras.layers.Activation("linear", name="features")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, keras.layers.Dense(10)(x))


def compiled(remat, jit_compile):
    """Returns a distiller and a batch."""
    keras.utils.set_random_seed(0)
    methods = [FitNet("features", "features"), LogitsKD()]
    distiller = Distiller(model(1), model(BLOCKS, remat), methods)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    distiller.compile("sgd", loss, jit_compile=jit_compile)
    x = np.random.default_rng(0).normal(size=(BATCH, 32, 32, WIDTH)).astype("float32")
    return distiller, (x, np.arange(BATCH) % 10)


def peak_of_process(remat, jit_compile):
    """Prints the MiB by which steps raise the peak memory of this process."""
    distiller, batch = compiled(remat, jit_compile)
    distiller.train_on_batch(*(part[:1] for part in batch))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(2):
        distiller.train_on_batch(*batch)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps((after - before) / 1024))


def in_process(backend, *args):
    """Runs this script in a process of its own and returns the number it prints."""
    output = subprocess.run(
        [sys.executable, __file__, *map(str, args)],
        env={**os.environ, "KERAS_BACKEND": backend},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return json.loads(output.splitlines()[-1])


def measure(name):
    """Returns a row of the table: the medians of a few processes."""
    backend, jit_compile = SETTINGS[name]
    plain, checkpointed = (
        statistics.median(in_process(backend, remat, jit_compile) for _ in range(RUNS))
        for remat in ("false", "true")
    )
    return [name, f"{plain:.0f}", f"{checkpointed:.0f}", f"{checkpointed / plain:.2f}"]


def main(argv):
    """Prints and writes the table, or prints the measurement of one process."""
    if argv[1:]:
        peak_of_process(*(argument == "true" for argument in argv[1:]))
        return
    header = ["backend", "MiB without", "MiB with", "ratio"]
    text = f"""\
A student of {BLOCKS} blocks of 4 convolutions ({WIDTH} channels, 32x32, batches of
{BATCH}) with every block under `keras.remat`, and the same without, in a Distiller with
FitNet and LogitsKD: by how much two steps raise the peak of a process that has run a
step of one sample (resident memory, data and temporary results together). Medians of
{RUNS} processes.

{markdown_table(header, [measure(name) for name in SETTINGS])}

On a CPU, checkpoints save nothing on JAX; functions of plain JAX under `jax.checkpoint`
need as much memory as without it there, too.

{describe_machine()}. Command: `python benchmarks/checkpointing.py`."""
    print(text)
    write_section(OUTPUT.value, "Memory that gradient checkpointing saves", text)


if __name__ == "__main__":
    app.run(main)
