"""Distills a teacher into a student: R/student.keras, and its records in R.

The teacher is R/teacher.keras from diffkd-train-teacher, or the model of --teacher: a
.keras file, applications:NAME+imagenet or hub:PRESET (saved as R/teacher.keras).

Example:

  diffkd-distill --flagfile=recipes/experiments/digits.flags --run_dir=runs/digits

--baseline also trains the student alone, and --seeds=5 repeats everything with five
seeds. The same command again resumes, or says that nothing is left to do.
--quantization_aware=int8 trains the finished student further, as int8 files compute it.
"""

import functools
import sys
from pathlib import Path

import keras
from absl import flags as absl_flags

from keras_diffkd.teacher_cache import stored_outputs

from . import cluster, flags, quantizing, seeds, shrinking, teacher_cache
from .command_line import run_command
from .data import labeled_part, load_data
from .distilling import distil_from, wanted_cache
from .methods import build_methods
from .networks import build_network, keep_teacher, load_teacher
from .preflight import check_flags, check_training
from .run.cache_record import write_cache_record
from .run.directory import RunDirectory
from .seeds import SEEDS, other_seed, other_seeds
from .training import build_distiller, claim, locked, prepare, train

BASELINE = absl_flags.DEFINE_boolean(
    "baseline",
    False,
    "Train the student alone first, with the same seed and budget: R/baseline/.",
)

# Part of the help of this command.
absl_flags.adopt_module_key_flags(quantizing)
absl_flags.adopt_module_key_flags(seeds)
absl_flags.adopt_module_key_flags(teacher_cache)


def main(argv):
    """Trains the student that the flags describe, once for every seed."""
    del argv
    shrinking.prepare_flags()
    alone = flags.METHOD.value == ["none"] and not shrinking.is_wanted()
    models = ("student",) if alone else ("teacher", "student")
    teacher_cache.prepare_flags(seeds=SEEDS.value)
    check_flags(("run_dir", "dataset", *models), method=True)
    prepare()
    run = RunDirectory(Path(flags.RUN_DIR.value))
    train_run(run)
    for seed in other_seeds():
        keras.utils.clear_session()
        prepare()  # The cleared session had the dtype policy.
        with other_seed(run, seed) as repeated:
            train_run(repeated)


def train_run(run):
    """Trains the stages of a run that are not finished, and keeps others out of it.

    Args:
        run: `RunDirectory`.
    """
    methods = build_methods(flags.METHOD.value)
    quantizing.check_flags(methods)
    run.check_is_one()
    with locked(run):
        train_unfinished(run, methods)
        if quantizing.QUANTIZATION_AWARE.value:
            quantizing.train_quantized(run)


def train_unfinished(run, methods):
    """Trains the stages of a run that are not finished.

    Args:
        run: `RunDirectory`.
        methods: list of distillation methods.
    """
    stages = run.stages()
    student, baseline = stages["student"], stages["baseline"]
    wanted = [baseline, student] if BASELINE.value else [student]
    for stage in wanted:
        stage.check()
    unfinished = [stage for stage in wanted if not stage.finished]
    is_left_out = baseline.model_path.exists() and baseline not in wanted
    if unfinished and is_left_out and not baseline.finished:
        print(
            f"warning: {baseline.folder} has fewer epochs and is not comparable. Pass "
            "--baseline to train it further, too",
            file=sys.stderr,
        )
    if not unfinished:
        goes_on = quantizing.QUANTIZATION_AWARE.value
        print(f"{run.student} is finished" + ("" if goes_on else "; nothing to do"))
        return

    data, choice = load_data(), None
    if shrinking.is_wanted():
        # Before the strategy, whose devices the measured files do not use.
        choice = shrinking.choose(run, load_teacher(run, data, methods), data)
    cache = None
    if student in unfinished:
        check = functools.partial(check_before_build, run, choice)
        cache = wanted_cache(run, data, methods, check)
    with cluster.scope():
        train_stages(run, data, unfinished, baseline, student, methods, cache, choice)


def check_before_build(run, choice, teacher, data):
    """Checks the distillation that a cache is for, before the cache is built."""
    make = functools.partial(build_student, run, choice=choice)
    methods = build_methods(flags.METHOD.value)
    distiller = build_distiller(make(data), data, teacher, methods)
    distiller.preflight(data.train, epochs=flags.EPOCHS.value)
    # Stored means over positions are not what every method compares.
    methods = build_methods(flags.METHOD.value)
    stored = teacher_cache.plan(teacher, data, methods).teacher(methods, teacher)
    build_distiller(make(data), data, stored, methods, stored_outputs)


def train_stages(run, data, unfinished, baseline, student, methods, cache, choice):
    """Builds and trains the stages that are not finished."""
    make = functools.partial(build_student, run, choice=choice)
    # Models that do not fit each other fail here, before anything is written.
    distiller = alone = None
    if baseline in unfinished:
        labeled = labeled_part(data)
        alone = build_distiller(make(data), labeled)
    if student in unfinished:
        teacher = load_teacher(run, data, methods) if methods else None
        distiller = distil_from(cache, teacher, data, methods, make)
        quantizing.check_student(distiller.student)
    # The check of the distiller includes that of the student alone.
    distilled = teacher_cache.with_stored_outputs(data, cache, distiller)
    # Without it, only the images with labels are trained on.
    checked = (alone, labeled) if distiller is None else (distiller, distilled)
    check_training(*checked, flags.TEACHER.value)
    if choice is not None and cluster.is_chief():
        choice.save(run)
    if alone is not None:
        with claim(baseline):
            train(alone, baseline, labeled)
    if distiller is not None:
        with claim(student):
            if methods and cluster.is_chief():
                keep_teacher(run, teacher)
            if cache is not None and cluster.is_chief():
                write_cache_record(run.root, cache)
            train(distiller, student, distilled, cache)


def build_student(run, data, choice=None):
    """Builds the student; the same seed gives the same weights with any method.

    Args:
        run: `RunDirectory`.
        data: data set of the task.
        choice: `shrinking.Choice` of a student made out of the teacher, or `None`.
    """
    keras.utils.set_random_seed(flags.SEED.value)
    if choice is None:
        return build_network(flags.STUDENT.value, data)
    return shrinking.build(load_teacher(run, data, []), data, choice.width)


def run():
    """Runs `diffkd-distill`."""
    run_command("diffkd-distill", main)
