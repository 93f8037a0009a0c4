"""How much faster `fashion.py` trains with stored outputs than with the teacher itself.

    python benchmarks/fashion_live.py --data_dir=FOLDER

Students of the same method take turns in one process with one thread: one learns from
the teacher's stored outputs, the other one from the teacher, which runs in each step.
"""

import os
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
from absl import app, flags
from fashion_runs import LEARNING_RATES, REGIMES, Task
from fashion_training import (
    FACTORIES,
    STEPS_PER_EXECUTION,
    Files,
    begin_process,
    load_data,
    make_distiller,
    make_optimizer,
    taps_of,
)
from gpu_fashion import BATCH_SIZE
from report import describe_machine, markdown_table

from keras_diffkd import Distiller

RUNS = Path(__file__).parent / "runs" / "fashion"
METHODS = ("KD", "DiffKD (features)", "DiffKD (features + logits)")
STEPS = 39

flags.DEFINE_string("data_dir", None, "Folder of IDX files.", required=True)
flags.DEFINE_string("cache", "runs/fashion", "Folder of the teacher's outputs.")
flags.DEFINE_integer("turns", 8, "Turns of each student, 39 steps each.")


def main(argv):
    """Prints a table."""
    del argv
    begin_process()
    options = flags.FLAGS
    files = Files(
        Path(options.data_dir), RUNS / "teacher.weights.h5", Path(options.cache)
    )
    data = load_data(files)
    rows = []
    for method in METHODS:
        stored, live = measure(method, data, options.turns)
        low, middle, high = np.percentile(live / stored, [25, 50, 75])
        rows.append(
            [
                method,
                f"{1e3 * np.median(live):.1f}",
                f"{1e3 * np.median(stored):.1f}",
                f"{middle:.2f} ({low:.2f} to {high:.2f})",
            ]
        )
    header = ["method", "teacher", "stored outputs", "times faster"]
    print("Milliseconds of processor per step, batches of", BATCH_SIZE)
    print(markdown_table(header, rows))
    print(describe_machine())


def measure(method, data, turns):
    """Returns two arrays of seconds of processor per step: stored, live."""
    task = Task("report", "few", "20k", "sgd", method, 1.0, LEARNING_RATES["sgd"], 0)
    stored = make_distiller(task, data)
    live = Distiller(
        data.teacher.network,
        keras.models.clone_model(stored.student),
        FACTORIES[method](task.weight),
        teacher_preprocess=lambda batch: batch["image"],
    )
    cases = ((stored, taps_of(stored.methods)), (live, []))
    for distiller, _ in cases:
        distiller.compile(
            make_optimizer(task),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            steps_per_execution=STEPS_PER_EXECUTION,
            preflight=False,
        )
    # The first turn includes the tracing.
    seconds = [
        [seconds_per_step(*case, data, task) for case in cases]
        for _ in range(turns + 1)
    ]
    return np.array(seconds[1:]).T


def seconds_per_step(distiller, taps, data, task):
    """Trains a few steps; returns the seconds of processor of one."""
    batches = data.batches(task.stage, REGIMES[task.regime], 0, BATCH_SIZE, taps)
    started = time.process_time()
    distiller.fit(batches, steps_per_epoch=STEPS, shuffle=False, verbose=0)
    return (time.process_time() - started) / STEPS


if __name__ == "__main__":
    app.run(main)
