"""Seconds per training step with a teacher and with its stored outputs.

    python benchmarks/cached_steps.py            measures, and writes the tables
    python benchmarks/cached_steps.py --tables   writes the tables of the last run
    python benchmarks/cached_steps.py --pairs=cifar --turns=24   measures one pair anew

All cases of a pair of networks take turns in one process with one thread, so that
whatever else the machine does falls on all of them. Each takes its batch from memory;
what a batch takes to read is measured on its own. The images are digits, resized. The
raw seconds go into benchmarks/runs/cached_steps.jsonl, the tables into docs/results.md.
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path

from absl import app, flags

os.environ["TF_NUM_INTRAOP_THREADS"] = "1"
os.environ["TF_NUM_INTEROP_THREADS"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from cached_tables import write_tables
from report import describe_machine
from step_cases import PAIRS, ForwardOnly, repeated

from keras_diffkd import DiffKD, Distiller, LogitsKD
from keras_diffkd.datasets import load_classification
from keras_diffkd.models import build_model
from keras_diffkd.teacher_cache import CacheBuilder, stored_outputs

RUNS = Path(__file__).parent / "runs" / "cached_steps.jsonl"
TURNS = flags.DEFINE_list("turns", ["24", "7"], "Timed steps of each case, by pair.")
READ = 30
DATA_DIR = flags.DEFINE_string("data_dir", None, "TFDS data folder.")
NAMES = flags.DEFINE_list("pairs", ["cifar", "imagenet"], "Of step_time.py.")
TABLES = flags.DEFINE_boolean("tables", False, "Only write tables of the last run.")
OUTPUT = flags.DEFINE_string("output", "docs/results.md", "File of the tables.")
IMAGES = {"cifar": 1024, "imagenet": 64}


def main(argv):
    """Measures each pair, and writes the tables."""
    del argv
    if not TABLES.value:
        about = {"about": describe_machine()}
        kept = lines_of_others(about)
        lines = [
            line
            for name, turns in zip(NAMES.value, TURNS.value, strict=True)
            for line in measure(name, int(turns))
        ]
        lines = sorted(
            [*lines, *kept], key=lambda line: list(PAIRS).index(line["pair"])
        )
        lines = [about, *lines]
        RUNS.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    write_tables(RUNS, OUTPUT.value)


def lines_of_others(about):
    """Returns the lines of the pairs that are not measured now.

    Raises:
        ValueError: If another machine, or other versions, measured them.
    """
    before, *lines = [json.loads(line) for line in RUNS.read_text().splitlines()]
    others = [line for line in lines if line["pair"] not in NAMES.value]
    if others and before != about:
        raise ValueError(
            f"{RUNS} has other pairs, of {before['about']}. Received: "
            f"--pairs={','.join(NAMES.value)} on {about['about']}. Measure all pairs."
        )
    return others


def measure(pair, turns):
    """Returns a list of dicts: what is known of a cache, and each timed step."""
    teacher, student, (size, *_), classes, batch_size, latent = PAIRS[pair]
    data = load_classification(
        "digits",
        data_dir=DATA_DIR.value,
        batch_size=batch_size,
        views=1,
        image_size=size,
        train_split=f"train[:{IMAGES[pair]}]",
    )
    keras.utils.set_random_seed(0)
    shape = (size, size, 1)
    teacher = build_model(teacher, shape, classes)

    def diffkd():
        return DiffKD("features", "features", latent_channels=latent)

    methods = {
        "floor": ForwardOnly("features", "features", name="forward"),
        "KD, teacher": LogitsKD(),
        "KD, cache": LogitsKD(),
        "DiffKD, teacher": diffkd(),
        "DiffKD, cache": diffkd(),
    }
    with tempfile.TemporaryDirectory() as folder:
        cache, built = build(Path(folder) / "cache", teacher, data.views)
        cases, batches = {}, {"images": data.train}
        for name, method in methods.items():
            stored = cache if "cache" in name else None
            new = build_model(student, shape, classes)
            distiller, read = distil(method, teacher, new, data, stored)
            cases[name] = ready(distiller, read)
            if stored:
                batches[name] = read
        new = build_model(student, shape, classes)
        cases["keras.distillation"] = ready(keras_distiller(teacher, new), data.train)
        reading = {name: seconds_to_read(each) for name, each in batches.items()}
        about = {"batch_size": batch_size, "reading": reading, **built}
        return [{"pair": pair, **about}, *in_turns(pair, cases, turns)]


def build(folder, teacher, views):
    """Returns `(cache, facts)` of a cache of logits and features."""
    facts = {}
    for kept, taps in (("logits", []), ("logits and features", ["features"])):
        builder = CacheBuilder(f"{folder}_{len(taps)}", teacher, views, taps=taps)
        marks = []
        cache = builder.build(
            lambda done, total, to=marks: to.append((*seconds(), done))
        )
        # The first batch includes the tracing.
        clock, processor, views_built = (
            last - first for first, last in zip(marks[0], marks[-1], strict=True)
        )
        facts[kept] = {
            "bytes_per_view": builder.bytes_per_view,
            "bytes_on_disk_per_view": bytes_of(cache.folder) / len(views),
            "clock_per_view": clock / views_built,
            "processor_per_view": processor / views_built,
        }
    return cache, {"caches": facts}


def seconds():
    """Returns the time on the clock and of the processor."""
    return time.perf_counter(), time.process_time()


def bytes_of(folder):
    """Returns the size of the files of a cache."""
    return sum(path.stat().st_size for path in folder.iterdir())


def distil(method, teacher, student, data, cache):
    """Returns `(distiller, batches)`."""
    if cache is None:
        distiller, batches = Distiller(teacher, student, [method]), data.train
    else:
        distiller = Distiller(
            cache.teacher([method]),
            student,
            [method],
            teacher_preprocess=stored_outputs,
        )
        batches = cache.batches(data.views, distiller)
    return distiller, batches


def keras_distiller(teacher, student):
    """Returns Keras's own distiller."""
    return keras.distillation.Distiller(
        teacher=teacher,
        student=student,
        distillation_losses=keras.distillation.LogitsDistillation(),
    )


def ready(distiller, batches):
    """Compiles and traces a distiller; returns it and an iterator over one batch."""
    distiller.compile(
        keras.optimizers.SGD(1e-5, momentum=0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,
    )
    data = repeated(*next(iter(batches)))
    distiller.fit(data, steps_per_epoch=2, verbose=0)
    return distiller, iter(data)


def in_turns(pair, cases, turns):
    """Returns a list of dicts, one for each timed step."""
    steps = []
    for turn in range(turns):
        # Whoever follows the same case finds the same caches: the order changes.
        names = list(cases)
        names = names[turn % len(names) :] + names[: turn % len(names)]
        for name in names:
            distiller, iterator = cases[name]
            started = seconds()
            distiller.train_function(iterator)
            clock, processor = np.subtract(seconds(), started)
            steps.append(
                {
                    "pair": pair,
                    "turn": turn,
                    "case": name,
                    "clock": round(float(clock), 5),
                    "processor": round(float(processor), 5),
                }
            )
        print(f"{pair}: turn {turn + 1}/{turns}", file=sys.stderr, flush=True)
    return steps


def seconds_to_read(batches):
    """Returns the seconds that a batch takes on its way from the files."""
    iterator = iter(batches)
    next(iterator)
    started = time.perf_counter()
    for _ in range(READ):
        next(iterator)
    return (time.perf_counter() - started) / READ


if __name__ == "__main__":
    app.run(main)
