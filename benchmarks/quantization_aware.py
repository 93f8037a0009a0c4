"""Compares int8 files of quantization-aware students with post-training int8.

    python benchmarks/quantization_aware.py --fashion=FOLDER --scenes=FOLDER
    python benchmarks/quantization_aware.py --table

The first command trains classifiers of Fashion-MNIST, segmenters and detectors, and can
be interrupted at any time: each finished student is a line in
`benchmarks/runs/quantization_aware.jsonl`. The folders are those of IDX files, as for
benchmarks/fashion.py, whose teacher it takes, and of TFDS, as for
benchmarks/digit_scenes.py. The second command writes the tables into docs/results.md,
and draws docs/quantization.svg.

For each seed a float student is trained once. From it go on, for as many steps each:
the float student, whose files are calibrated (post-training int8), and
quantization-aware students without a teacher, with KD, and with KD and DiffKD
(detectors, which have no class scores of whole images, with DiffKD alone). "Methods
first": before, their own layers train for an epoch while the student stands still. The
metric is that of the files in LiteRT and onnxruntime on all test images; nothing is
chosen by it.
"""

import functools
import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from absl import app, flags
from fashion_training import begin_process
from finished_runs import FinishedRuns, read_lines
from quantization_students import STUDENT_ARMS, Files, Task, train_student
from quantization_tables import FIGURE, draw, report
from report import write_section

HERE = Path(__file__).parent
RUNS = HERE / "runs" / "quantization_aware.jsonl"
PAGE = HERE.parent / "docs" / "results.md"
TITLE = "Quantization-aware training"

# The commands define --data_dir and --student.
flags.DEFINE_string("fashion", None, "Folder of IDX files.")
flags.DEFINE_string("scenes", "data", "TFDS data folder.")
flags.DEFINE_string("runs", str(RUNS), "File of finished students.")
flags.DEFINE_string("cache", "runs/fashion", "Folder of the teacher's outputs.")
flags.DEFINE_string("bases", "runs/quantization", "Folder of float students.")
flags.DEFINE_multi_enum(
    "model", list(STUDENT_ARMS), list(STUDENT_ARMS), "Students; repeat the flag."
)
flags.DEFINE_integer("seeds", 5, "Seeds.")
flags.DEFINE_integer("workers", 1, "Processes, one thread each.")
flags.DEFINE_boolean("table", False, "Write the table instead.")


def task_of(record):
    """Returns the `Task` of a record."""
    return Task(*(record[field] for field in Task._fields))


def main(argv):
    """Trains what is missing, or writes the table."""
    del argv
    options = flags.FLAGS
    if options.table:
        records = read_lines(Path(options.runs))
        text = report(records)
        print(text)
        draw(records, PAGE.parent / FIGURE)
        write_section(PAGE, TITLE, text)
        return
    folders = (options.fashion, options.cache, options.bases, options.scenes)
    runs = FinishedRuns(Path(options.runs), task_of)
    runs.run(
        functools.partial(train_student, files=Files(*map(Path, folders))),
        [
            Task(student, arm, seed)
            for seed in range(options.seeds)
            for student in options.model
            for arm in STUDENT_ARMS[student]
        ],
        workers=options.workers,
        initializer=begin_process,
        kind=lambda task: task.arm,
    )


if __name__ == "__main__":
    app.run(main)
