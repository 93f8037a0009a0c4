"""Memory over many small trainings in one process, as in a hyper-parameter search.

    python benchmarks/memory.py

Trains each kind of model 20 times, in a process of its own, without references to the
models before, and reads the resident memory after each. The first 4 trainings are left
out of the growth: libraries load and caches fill in them. Writes into docs/results.md.
"""

import gc
import json
import os
import subprocess
import sys
import weakref
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from absl import app, flags
from report import describe_machine, markdown_table, write_section

from keras_diffkd import DiffKD, Distiller, LogitsKD

OUTPUT = flags.DEFINE_string("output", "docs/results.md", "File to write into.")
KIND = flags.DEFINE_string("kind", None, "Only trains this and prints what it found.")
CLEAR = flags.DEFINE_bool("clear", False, "Whether to call clear_session in between.")
TRAININGS, LEFT_OUT = 20, 4


def _network(width, blocks=0):
    image = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(width, 3, padding="same")(image)
    for _ in range(blocks):
        x = keras.layers.Dense(width)(x)
        x = keras.layers.BatchNormalization()(x)
        x = keras.layers.ReLU()(x)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.ReLU(name="features")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, keras.layers.Dense(3)(x))


def _loss():
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def _plain(blocks=0):
    model = _network(4, blocks)
    model.compile("adam", _loss(), jit_compile=False)
    return model


def _keras():
    model = keras.distillation.Distiller(
        _network(8),
        _network(4),
        distillation_losses=[
            keras.distillation.LogitsDistillation(loss=keras.losses.KLDivergence())
        ],
    )
    model.compile("adam", _loss(), jit_compile=False)
    return model


def _distiller(method):
    model = Distiller(_network(8), _network(4), [method])
    model.compile("adam", _loss())
    return model


KINDS = {
    "the student alone": _plain,
    # As many operations in its graph as DiffKD's: some 5,700.
    "a student of 20 blocks alone": lambda: _plain(20),
    "keras.distillation, logits": _keras,
    "LogitsKD": lambda: _distiller(LogitsKD()),
    "DiffKD": lambda: _distiller(DiffKD("features", "features", latent_channels=8)),
}


def measure(kind, clear):
    """Trains again and again; returns MB per training and the models still alive."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(48, 8, 8, 3)).astype("float32"), rng.integers(0, 3, 48)
    references, sizes = [], []
    for _ in range(TRAININGS):
        model = KINDS[kind]()
        model.fit(x, y, batch_size=16, verbose=0)
        references.append(weakref.ref(model))
        del model
        if clear:
            keras.utils.clear_session()
        gc.collect()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        sizes.append(pages * os.sysconf("SC_PAGE_SIZE") / 1e6)
    growth = (sizes[-1] - sizes[LEFT_OUT - 1]) / (TRAININGS - LEFT_OUT)
    return growth, sum(reference() is not None for reference in references)


def _measured(kind, clear):
    command = [sys.executable, __file__, f"--kind={kind}", f"--clear={clear}"]
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(result.stdout.splitlines()[-1])


def main(argv):
    """Prints and writes the table, or measures one kind."""
    del argv
    if KIND.value is not None:
        print(json.dumps(measure(KIND.value, CLEAR.value)))
        return
    rows = []
    for kind in KINDS:
        found = [_measured(kind, clear) for clear in (False, True)]
        alive = sum(count for _, count in found)
        rows.append([kind, *(f"{growth:.1f}" for growth, _ in found), str(alive)])
    header = ["trained", "MB each", "MB each, with clear_session", "models not freed"]
    text = f"""\
{TRAININGS} small trainings in one process, on TensorFlow: growth of the process with
each of the last {TRAININGS - LEFT_OUT}.
The student has 143 weights. All models are freed, yet the process grows, more with
larger graphs. Compare DiffKD with the second row: plain Keras with a graph as large (20
blocks of Dense, BatchNormalization and ReLU).

{markdown_table(header, rows)}

{describe_machine()}. Command: `python benchmarks/memory.py`."""
    print(text)
    write_section(OUTPUT.value, "Memory over many trainings", text)


if __name__ == "__main__":
    app.run(main)
