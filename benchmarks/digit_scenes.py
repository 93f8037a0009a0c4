"""Distils a detector and a segmenter on digit scenes over several seeds.

    python benchmarks/digit_scenes.py --data_dir=FOLDER --seeds=10
    python benchmarks/digit_scenes.py --table

The first command runs those of the package, so that what is measured is what a user
gets: for each seed a teacher, and from it the student alone and with each method, with
the settings of the experiment file. It can be interrupted at any time: each finished
model is a line in `benchmarks/runs/digit_scenes.jsonl`. The second command writes the
tables into docs/results.md.
"""

import functools
from pathlib import Path
from typing import NamedTuple

import numpy as np
from absl import app, flags
from comparison import differences_table, gains_table, interval_of_mean
from finished_runs import FinishedRuns, read_lines
from report import (
    describe_machine,
    machines_of,
    markdown_table,
    revision,
    write_section,
)
from scene_commands import (
    balanced_weights,
    command,
    read_metrics,
    train_teacher,
)

HERE = Path(__file__).parent
RUNS = HERE / "runs" / "digit_scenes.jsonl"
PAGE = HERE.parent / "docs" / "results.md"
TITLE = "Detection and segmentation on digit scenes"
TEACHER, ALONE = "teacher", "student alone"
# Each is the same with balanced weights, too.
AT_WEIGHT_1 = {
    "FitNet": "fitnet",
    "DiffKD": "diffkd_features",
    "KD of the pixels": "kd",
    "KD of the pixels, DiffKD": "kd,diffkd_features",
}
METHODS = {ALONE: ("--method=none",)} | {
    f"{title}{suffix}": (
        f"--method={name}",
        f"--distill_weight={weight}",
        *(["--temperature=1"] if title.startswith("KD") else []),
    )
    for weight, suffix in ((1, ""), ("balanced", ", balanced"))
    for title, name in AT_WEIGHT_1.items()
}

flags.DEFINE_integer("seeds", 10, "Seeds, of teachers and students.", lower_bound=2)
flags.DEFINE_string("data_dir", "data", "TFDS data folder.")
flags.DEFINE_string(
    "folder", "runs/digit_scenes", "Folder of the models, which resume."
)
flags.DEFINE_string("runs", str(RUNS), "File of finished models.")
flags.DEFINE_boolean("table", False, "Write the tables instead.")


class Task(NamedTuple):
    """A task on digit scenes: experiment, names of metrics, whether it has logits."""

    experiment: str
    metrics: dict[str, str]
    gives_logits: bool


class Model(NamedTuple):
    """One model to train."""

    task: str
    method: str
    seed: int


TASKS = {
    "detection": Task(
        "digit_scenes_retinanet", {"val_mAP": "mAP", "val_mAP50": "mAP50"}, False
    ),
    "segmentation": Task("digit_scenes_deeplabv3", {"val_mean_iou": "mIoU"}, True),
}
flags.DEFINE_multi_enum("task", list(TASKS), list(TASKS), "Tasks; repeat the flag.")
flags.DEFINE_multi_enum("method", list(METHODS), list(METHODS), "Methods; the same.")


def methods_of(task):
    """Returns the names of the methods that a task has."""
    has_logits = TASKS[task].gives_logits
    return [name for name in METHODS if has_logits or not name.startswith("KD")]


def models(tasks, methods, seeds):
    """Lists the models to train, seed by seed."""
    return [
        Model(task, method, seed)
        for seed in range(seeds)
        for task in tasks
        for method in (TEACHER, *methods_of(task))
        if method in (TEACHER, *methods)
    ]


def train(model, folder, data_dir):
    """Trains one model, and returns the record of a line."""
    experiment = TASKS[model.task].experiment
    root = folder / f"{model.task}_{model.seed}"
    teacher = train_teacher(experiment, root, model.seed, data_dir)
    run = teacher.with_suffix("")
    if model.method != TEACHER:
        run = root / model.method.replace(",", "").replace(" ", "_")
        command(
            "diffkd-distill",
            experiment,
            run,
            model.seed,
            *METHODS[model.method],
            f"--teacher={teacher}",
            data_dir=data_dir,
        )
    curves = read_metrics(run)
    metrics = TASKS[model.task].metrics
    return {
        **model._asdict(),
        "curves": {name: curves[name] for name in metrics},
        "accuracy": curves[next(iter(metrics))][-1],
        "balanced": balanced_weights(curves),
        "seconds": round(sum(curves["seconds"]), 1),
        "revision": revision(),
        "machine": describe_machine(),
    }


def model_of(record):
    """Returns the `Model` of a record."""
    return Model(*(record[field] for field in Model._fields))


def report(records, least_seeds=5):
    """Returns the tables as Markdown.

    Args:
        records: List of dicts, the lines of `benchmarks/runs/digit_scenes.jsonl`.
        least_seeds: Integer; methods with fewer seeds are left out.
    """
    parts = [
        "4,000 scenes to train, 512 to test; each seed has its own teacher. Values of "
        "the test scenes after the last epoch, over the seeds that finished with all "
        "methods of a table: mean ± standard deviation; gains over the student alone "
        "with 95% intervals; p of the paired t-test, adjusted by Holm's method. "
        "Settings of the experiment files; weight 1, or balanced weights where it says "
        "so; nothing was tuned for a method."
    ]
    for name, task in TASKS.items():
        found = by_method(
            [record for record in records if record["task"] == name], least_seeds
        )
        if ALONE not in found:
            continue
        for key, title in task.metrics.items():
            parts += metric_tables(name, task, found, key, title)
        parts.append(seconds_table(found))
    command = "`python benchmarks/digit_scenes.py`"
    return "\n\n".join([*parts, f"{machines_of(records)}; {command}."])


def by_method(records, least_seeds):
    """Returns a dict from method to its records, of the same seeds and in their order.

    The teacher comes first; methods with fewer seeds than `least_seeds` are left out.
    """
    found = {name: {} for name in (TEACHER, *METHODS)}
    for record in records:
        found[record["method"]][record["seed"]] = record
    found = {name: seeds for name, seeds in found.items() if len(seeds) >= least_seeds}
    common = sorted(set.intersection(*map(set, found.values()))) if found else []
    return {name: [seeds[seed] for seed in common] for name, seeds in found.items()}


def metric_tables(name, task, found, key, title):
    """Returns the parts about one metric."""
    values = {
        method: np.array([record["curves"][key][-1] for record in records])
        for method, records in found.items()
    }
    teacher = values.pop(TEACHER)
    mean, half = interval_of_mean(100 * teacher)
    parts = [
        f"**{name.capitalize()}, {title}** (`{task.experiment}.flags`; {len(teacher)} "
        f"seeds; teachers: {mean:.2f} ± {half:.2f}, 95% interval)",
        gains_table(values, ALONE, title=f"{title}, %"),
    ]
    pairs = {
        method: (values[f"{method}, balanced"], values[method])
        for method in AT_WEIGHT_1
        if {method, f"{method}, balanced"} <= values.keys()
    }
    if pairs:
        text = f"Balanced weights (first) against weight 1 (second), {title}:"
        parts += [text, differences_table(pairs)]
    return parts


def seconds_table(found):
    """Returns how long an epoch took."""
    rows = [
        [name, f"{np.mean([r['seconds'] / epochs_of(r) for r in records]):.1f}"]
        for name, records in found.items()
    ]
    return markdown_table(["", "seconds per epoch"], rows)


def epochs_of(record):
    """Returns the number of epochs of a record."""
    return len(next(iter(record["curves"].values())))


def main(argv):
    """Trains what is missing, or writes the tables."""
    del argv
    options = flags.FLAGS
    if options.table:
        text = report(read_lines(Path(options.runs)))
        print(text)
        write_section(PAGE, TITLE, text)
        return
    job = functools.partial(
        train, folder=Path(options.folder), data_dir=options.data_dir
    )
    # The commands take both cores, and a teacher comes before its students.
    FinishedRuns(Path(options.runs), model_of).run(
        job,
        models(options.task, options.method, options.seeds),
        workers=1,
        kind=lambda model: model[:2],
    )


if __name__ == "__main__":
    app.run(main)
