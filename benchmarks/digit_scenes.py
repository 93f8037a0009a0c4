"""Distills a detector and a segmenter on digit scenes over several seeds.

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

from absl import app, flags
from digit_scenes_models import METHODS, TASKS, TEACHER, model_of, models
from digit_scenes_table import report
from finished_runs import FinishedRuns
from report import describe_machine, revision, write_report
from scene_commands import balanced_weights, command, read_metrics, train_teacher

HERE = Path(__file__).parent
RUNS = HERE / "runs" / "digit_scenes.jsonl"
PAGE = HERE.parent / "docs" / "results.md"
TITLE = "Detection and segmentation on digit scenes"

flags.DEFINE_integer("seeds", 10, "Seeds, of teachers and students.", lower_bound=2)
flags.DEFINE_string("data_dir", "data", "TFDS data folder.")
flags.DEFINE_string(
    "folder", "runs/digit_scenes", "Folder of the models, which resume."
)
flags.DEFINE_string("runs", str(RUNS), "File of finished models.")
flags.DEFINE_boolean("table", False, "Write the tables instead.")
flags.DEFINE_multi_enum("task", list(TASKS), list(TASKS), "Tasks; repeat the flag.")
flags.DEFINE_multi_enum(
    "method", list(METHODS), list(METHODS), "Methods to train; repeat the flag."
)


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


def main(argv):
    """Trains what is missing, or writes the tables."""
    del argv
    options = flags.FLAGS
    if options.table:
        write_report(options.runs, report, PAGE, TITLE)
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
