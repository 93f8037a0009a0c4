"""Compares the step time of two checkouts, in turns.

    python benchmarks/two_checkouts.py --other=../before [--backend=jax] [--jit_compile]

One process for each checkout builds the same distiller. They train in turns, a few
steps at a time, so that other load on the machine meets both. The script prints the
median seconds per step of each, on the clock and of processor (which other programs
disturb less), and the median and the quartiles of the ratios within a turn. It reads
the other checkout from its folder; nothing needs to be installed there.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from absl import app, flags

flags.DEFINE_string("other", None, "Folder of the other checkout.", required=True)
flags.DEFINE_enum("backend", "tensorflow", ["tensorflow", "jax", "torch"], "Of Keras.")
flags.DEFINE_bool("jit_compile", False, "Compile the step with XLA.")
flags.DEFINE_integer("turns", 60, "Turns of each checkout.")
flags.DEFINE_integer("steps", 5, "Steps in a turn.")

WORKER = """
import json, sys, time
sys.path.insert(0, sys.argv[1])
import keras, keras_diffkd, numpy as np
from keras_diffkd import DiffKD, Distiller, LogitsKD
from keras_diffkd.models import build_model

assert keras_diffkd.__file__.startswith(sys.argv[1]), keras_diffkd.__file__
keras.utils.set_random_seed(0)
shape, classes, batch = (16, 16, 3), 10, 64
teacher = build_model("resnet8x4", shape, classes)
student = build_model("resnet20", shape, classes)
methods = [DiffKD("features", "features", latent_channels=16), LogitsKD()]
distiller = Distiller(teacher, student, methods)
jit_compile = json.loads(sys.argv[2])
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
optimizer = keras.optimizers.SGD(1e-3)
distiller.compile(optimizer, loss, jit_compile=jit_compile, preflight=False)
rng = np.random.default_rng(0)
steps = int(sys.argv[3])
x = rng.normal(size=(steps * batch, *shape)).astype("float32")
y = rng.integers(0, classes, steps * batch)

class Clock(keras.callbacks.Callback):
    async_safe = True  # On JAX, Keras would wait for each step.

    # The first step of an epoch waits for the data; it is not counted.
    def on_train_batch_end(self, batch, logs=None):
        now = np.array([time.perf_counter(), time.process_time()])
        if batch == 0:
            self.begin = now
        self.end = now

clock = Clock()
for line in sys.stdin:
    distiller.fit(x, y, batch_size=batch, verbose=0, callbacks=[clock])
    print("seconds", *(clock.end - clock.begin) / (steps - 1), flush=True)
"""


def start(folder, jit_compile):
    """Starts the process of a checkout."""
    FLAGS = flags.FLAGS
    environment = {**os.environ, "KERAS_BACKEND": FLAGS.backend}
    environment |= {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(folder)}
    command = [sys.executable, "-c", WORKER, str(folder)]
    command += [json.dumps(jit_compile), str(FLAGS.steps)]
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
        cwd=folder,
    )


def turn(process):
    """Lets a process train; returns its seconds per step, of clock and processor."""
    process.stdin.write("go\n")
    process.stdin.flush()
    for line in process.stdout:
        if line.startswith("seconds"):
            return [float(text) for text in line.split()[1:]]
    raise SystemExit(f"a process ended with status {process.wait()}")


def main(_):
    """Trains in turns and prints the comparison."""
    FLAGS = flags.FLAGS
    here = Path(__file__).resolve().parents[1]
    jit_compile = True if FLAGS.jit_compile else "auto"
    processes = [
        start(folder, jit_compile) for folder in (here, Path(FLAGS.other).resolve())
    ]
    for process in processes * 3:  # Traces, compiles and warms up.
        turn(process)
    seconds = np.array([[turn(p) for p in processes] for _ in range(FLAGS.turns)])
    print(f"{FLAGS.backend}, jit_compile={jit_compile}, {FLAGS.turns} turns")
    for column, name in enumerate(("on the clock", "of processor")):
        ours, others = seconds[:, 0, column], seconds[:, 1, column]
        low, middle, high = np.percentile(ours / others, [25, 50, 75])
        print(
            f"{name}: {1e3 * np.median(ours):.2f} ms against "
            f"{1e3 * np.median(others):.2f} ms per step, ratio {middle:.3f} "
            f"({low:.3f} to {high:.3f})"
        )


if __name__ == "__main__":
    app.run(main)
