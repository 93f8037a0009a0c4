"""Compares methods at weights without a search with the student alone, on digits.

    python benchmarks/digits_defaults.py --data_dir=FOLDER
    python benchmarks/digits_defaults.py --table

Each method has balanced weights, the default of the commands, and weight 1, that of
Python, with both optimizers at the learning rates of the student alone. It can be
interrupted at any time: each finished student is a line in
`benchmarks/runs/digits_defaults.jsonl`. The second command writes the tables into
docs/results.md.
"""

import os
from pathlib import Path

# Before TensorFlow is imported, here and in the worker processes.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from absl import app, flags
from digits_defaults_table import EPOCHS, LEARNING_RATES, report, tasks
from digits_training import Runs
from report import write_report

HERE = Path(__file__).parent
RUNS = HERE / "runs" / "digits_defaults.jsonl"
PAGE = HERE.parent / "docs" / "results.md"
TITLE = "Digits: weights without a search"

flags.DEFINE_integer("seeds", 5, "Seeds of each row.", lower_bound=2)
flags.DEFINE_string("data_dir", "data", "Folder of prepared data sets.")
flags.DEFINE_integer("workers", os.cpu_count(), "Processes that train students.")
flags.DEFINE_multi_enum(
    "optimizer",
    list(LEARNING_RATES),
    list(LEARNING_RATES),
    "Optimizers to train with; repeat the flag.",
)
flags.DEFINE_string("runs", str(RUNS), "File of finished students.")
flags.DEFINE_boolean("table", False, "Write the tables instead.")


def main(argv):
    """Trains what is missing, or writes the tables."""
    del argv
    options = flags.FLAGS
    if options.table:
        write_report(options.runs, report, PAGE, TITLE)
        return
    teachers = None
    for optimizer in options.optimizer:
        settings = {"epochs": EPOCHS, "optimizer": optimizer}
        runs = Runs(
            settings, Path(options.runs), options.workers, options.data_dir, teachers
        )
        if teachers is None:
            runs.train_teachers(["report"])
            teachers = runs.teachers
        for rate in LEARNING_RATES[optimizer]:
            runs.run(tasks(rate, options.seeds))


if __name__ == "__main__":
    app.run(main)
