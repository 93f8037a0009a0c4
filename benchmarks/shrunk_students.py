"""Compares students that start from the teacher's weights with new ones.

    python benchmarks/shrunk_students.py --data_dir=FOLDER --workers=1
    python benchmarks/shrunk_students.py --table

The first command trains on 5,000 labeled images of Fashion-MNIST and can be interrupted
at any time: each finished student is a line in `benchmarks/runs/shrunk_students.jsonl`.
`FOLDER` is that of benchmarks/fashion.py, whose teacher it takes. The second command
writes the table into docs/shrinking.md.

Students are the teacher with a share of its channels, chosen by `shrink`. They start
from new weights or from the teacher's; others, made by hand, cost the same. They train
alone, with KD, or with KD and DiffKD on features, all of balanced weights and the same
learning rate. Each is judged on the test images after each epoch; nothing is chosen by
that.
"""

import functools
import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from absl import app, flags
from fashion_training import Files, begin_process
from finished_runs import FinishedRuns
from report import machines_of, write_report
from shrunk_training import TEACHER, costs, table, task_of, tasks, train_student

HERE = Path(__file__).parent
RUNS = HERE / "runs" / "shrunk_students.jsonl"
PAGE = HERE.parent / "docs" / "shrinking.md"
TITLE = "What the teacher's weights are worth"

flags.DEFINE_string("data_dir", None, "Folder of IDX files.")
flags.DEFINE_string("runs", str(RUNS), "File of finished students.")
flags.DEFINE_string("cache", "runs/fashion", "Folder of the teacher's outputs.")
flags.DEFINE_integer("seeds", 5, "Seeds.")
flags.DEFINE_integer("epochs", 10, "Epochs.")
flags.DEFINE_integer("workers", 1, "Processes, one thread each.")
flags.DEFINE_boolean("table", False, "Write the table instead.")


def report(records):
    """Returns the table as Markdown, with what a reader needs to know."""
    return (
        "5,000 labeled images of Fashion-MNIST, `fashion_teacher`, the same "
        "learning rate for all, balanced weights. Means and standard deviations "
        "over the seeds that finished; accuracies in percent on the test images. "
        "By hand: one block in each stage instead of two, as in `fashion_student`, "
        "with widths for about the same multiply-adds. Last column: epochs until "
        "inherited weights are as good as new ones at the end; not reached: not in "
        "each seed. Inherited weights have seen the 55,000 labeled images of the "
        "teacher."
        f"\n\n{table(records, costs())}\n\n{machines_of(records)}; "
        "`python benchmarks/shrunk_students.py`."
    )


def main(argv):
    """Trains what is missing, or writes the table."""
    del argv
    options = flags.FLAGS
    if options.table:
        write_report(options.runs, report, PAGE, TITLE)
        return
    files = Files(Path(options.data_dir), TEACHER, Path(options.cache))
    runs = FinishedRuns(Path(options.runs), task_of)
    runs.run(
        functools.partial(train_student, files=files),
        tasks(options.seeds, options.epochs),
        workers=options.workers,
        initializer=begin_process,
        kind=lambda task: task.method,
    )


if __name__ == "__main__":
    app.run(main)
