"""Compares all methods, and variants of DiffKD, on real handwritten digits.

    python benchmarks/digits.py --seeds=10

Every method gets the same small tuning budget: six settings of learning rate and of the
weight of its matching loss (the student alone: six learning rates), each trained with
two seeds on 80% of the training split and judged on the rest of it. With the best one,
students are trained on the whole training split with seeds that were not used before,
the same for all methods (initial weights, order of the data, noise), and tested on the
test split, so that methods can be compared seed by seed. Prints the tables and writes
them into docs/results.md, and a figure beside it.
"""

import os
import time
from pathlib import Path

# Before TensorFlow is imported, here and in the worker processes.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
from absl import app, flags
from comparison import ALONE, draw_accuracy_against_time, gains_table
from digits_methods import ABLATIONS, DIFFKD, METHODS
from digits_training import BATCH_SIZE, MOMENTUM, Runs, make_distiller, optimizer
from report import describe_machine, write_section
from step_cases import SteadyState, repeated

flags.DEFINE_integer("seeds", 10, "Seeds that every method is reported with.")
flags.DEFINE_integer("epochs", 40, "Epochs of the teacher and of every student.")
flags.DEFINE_integer("workers", os.cpu_count(), "Processes that train students.")
flags.DEFINE_string("data_dir", None, "Folder of prepared data sets.")
flags.DEFINE_string("runs", "runs/digits_benchmark.jsonl", "File of finished runs.")
flags.DEFINE_string("output", "docs/results.md", "File to write the tables into.")

TITLE = "Digits: all methods"
# (learning rate, weight of the matching loss): six for everybody.
SETTINGS = [(rate, weight) for rate in (0.05, 0.1) for weight in (0.3, 1.0, 3.0)]
SETTINGS_ALONE = [(rate, 0.0) for rate in (0.02, 0.05, 0.1, 0.15, 0.2, 0.3)]
TUNING_SEEDS = (1000, 1001)
TURNS, STEPS = 15, 20


def tune(runs):
    """Returns a dict from method to its best setting on the held-out data."""
    grid = {
        method: SETTINGS_ALONE if method == ALONE else SETTINGS for method in METHODS
    }
    tasks = [
        ("tune", method, *setting, seed)
        for method, settings in grid.items()
        for setting in settings
        for seed in TUNING_SEEDS
    ]
    accuracies = dict(zip(tasks, runs.run(tasks), strict=True))
    best = {}
    for method, settings in grid.items():
        means = [
            np.mean([accuracies["tune", method, *s, seed] for seed in TUNING_SEEDS])
            for s in settings
        ]
        best[method] = settings[int(np.argmax(means))]
    return best


def report(runs, settings, seeds):
    """Returns a dict from method to its accuracies on the test split, by seed."""
    # Seed by seed, but the variants after all methods.
    tasks = [
        ("report", method, *settings[method], seed)
        for group in (METHODS, ABLATIONS)
        for seed in range(seeds)
        for method in group
    ]
    accuracies = dict(zip(tasks, runs.run(tasks), strict=True))
    return {
        method: [accuracies["report", method, *s, seed] for seed in range(seeds)]
        for method, s in settings.items()
    }


def seconds_per_step(settings, teacher_weights):
    """Trains all methods in turns; returns the median seconds of a step."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(BATCH_SIZE, 8, 8, 1)).astype("float32")
    y = rng.integers(0, 10, BATCH_SIZE)
    data = repeated(x, y)
    times = {method: [] for method in settings}
    distillers = {}
    for method, (rate, weight) in settings.items():
        distillers[method] = make_distiller(method, weight, 0, teacher_weights)
        distillers[method].compile(
            optimizer(rate, 1000),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            jit_compile=False,
        )
    for _ in range(TURNS + 1):
        for method, distiller in distillers.items():
            timer = SteadyState(STEPS)
            distiller.fit(
                data,
                steps_per_epoch=STEPS + 1,
                shuffle=False,
                verbose=0,
                callbacks=[timer],
            )
            times[method].append(timer.seconds / STEPS)
    # The first turn warms up.
    return {method: float(np.median(values[1:])) for method, values in times.items()}


def write_report(options, accuracies, teacher_accuracy, seconds, best, minutes):
    """Writes the section of docs/results.md and the figure beside it."""
    figure = Path(options.output).parent / "digits_methods.svg"
    methods = {name: accuracies[name] for name in METHODS}
    draw_accuracy_against_time(methods, seconds, figure)
    columns = {
        "learning rate": {name: f"{rate:g}" for name, (rate, _) in best.items()},
        "weight": {
            name: "" if name == ALONE else f"{weight:g}"
            for name, (_, weight) in best.items()
        },
        "ms/step": {name: f"{1000 * value:.1f}" for name, value in seconds.items()},
    }
    variants = {DIFFKD: accuracies[DIFFKD]} | {n: accuracies[n] for n in ABLATIONS}
    sizes = {n: make_size(n) for n in ("digits_teacher", "digits_student")}
    text = f"""\
Teacher `digits_teacher`, {sizes["digits_teacher"]:,} parameters,
{100 * teacher_accuracy:.2f}% on the test split; student `digits_student`,
{sizes["digits_student"]:,} parameters. {options.epochs} epochs of batches of
{BATCH_SIZE}, SGD with momentum {MOMENTUM}, cosine, no XLA; {options.seeds} seeds, mean
± standard deviation.

Every method was tuned over {len(SETTINGS)} settings (learning rate, weight) with
{len(TUNING_SEEDS)} seeds each, on 20% of the training split. The test split, 445
images, was used for this table alone: one image is 0.22 points.

Gains: over the student alone, with 95% intervals; p: paired t-test, adjusted by Holm's
method. ms/step: medians of {TURNS} turns of {STEPS} steps, methods in turns.

{gains_table(methods, ALONE, columns)}

![Accuracy against milliseconds per step]({figure.name})

**Against DiffKD (features + logits)**

{gains_table(methods, DIFFKD)}

**Variants of DiffKD (features + logits)**, same setting

{gains_table(variants, DIFFKD)}

{describe_machine()}; {minutes:.0f} minutes with {options.workers} processes. Command:
`python benchmarks/digits.py --seeds={options.seeds} --epochs={options.epochs}`."""
    print(text)
    write_section(options.output, TITLE, text)


def make_size(name):
    """Returns the number of parameters of a model of the zoo."""
    from keras_diffkd.models import build_model

    return build_model(name, (8, 8, 1), 10).count_params()


def main(argv):
    """Tunes, trains, and writes the report."""
    del argv
    options = flags.FLAGS
    start = time.perf_counter()
    runs = Runs(
        {"epochs": options.epochs},
        Path(options.runs),
        options.workers,
        options.data_dir,
    )
    teacher_accuracy = runs.train_teachers()["report"]
    best = tune(runs)
    settings = best | dict.fromkeys(ABLATIONS, best[DIFFKD])
    accuracies = report(runs, settings, options.seeds)
    minutes = (time.perf_counter() - start) / 60
    seconds = seconds_per_step(best, runs.teachers["report"])
    write_report(options, accuracies, teacher_accuracy, seconds, best, minutes)


if __name__ == "__main__":
    app.run(main)
