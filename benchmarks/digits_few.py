"""Tells what the demo gains: digits with ten labels of each class, by the commands.

    diffkd-train-teacher --flagfile=digits.flags --run_dir=runs/digits
    options="--flagfile=digits_few.flags --teacher=runs/digits/teacher.keras --seeds=10"
    diffkd-distill $options --run_dir=runs/few/kd --method=kd
    diffkd-distill $options --run_dir=runs/few/both --baseline
    python benchmarks/digits_few.py --runs=runs/few

Each seed draws other labeled images. Students alone have the same seeds, images and
number of steps. The accuracies are kept in benchmarks/runs/digits_few.jsonl.
"""

import json
from pathlib import Path

import numpy as np
from absl import app, flags
from comparison import ALONE, gains_table
from report import describe_machine, write_section

flags.DEFINE_string("runs", None, "Folder of finished runs, to add to the file.")
flags.DEFINE_string("output", "docs/results.md", "File to write the table into.")

FILE = Path(__file__).parent / "runs" / "digits_few.jsonl"
COMMAND = "`python benchmarks/digits_few.py`"
TITLE = "Digits with few labels: the demo"
NAMES = {
    "kd": "KD",
    "both": "KD + DiffKD (features)",
}
SETUP = """\
`digits_few.flags`, which `make demo` runs: 100 labeled digits, ten of each class and
others for each seed; 40 epochs of 20 steps; ten seeds; 445 test images. The teacher was
trained on all 1,352 and is the same for all. Weights are balanced, nothing was tuned.
Intervals are of the mean gain, 95%; p of paired t-tests by Holm's method."""


def read_runs(folder):
    """Returns a list of dicts, one for each finished student in a folder of runs.

    Args:
        folder: It has a folder for each name in `NAMES`.
    """
    machine, runs = describe_machine(), []
    for name, title in NAMES.items():
        run = Path(folder, name)
        for path in [run, *sorted(run.glob("seeds/*"))]:
            seed = 0 if path == run else int(path.name)
            for row, student in ((ALONE, path / "baseline"), (title, path)):
                log = student / "metrics.jsonl"
                if log.exists():
                    last = json.loads(log.read_text().splitlines()[-1])
                    found = {"row": row, "seed": seed, "accuracy": last["val_accuracy"]}
                    runs.append({**found, "machine": machine})
    return runs


def table(runs):
    """Returns the table of finished runs.

    Args:
        runs: List of dicts from `read_runs`.
    """
    accuracies = {}
    for row in (ALONE, *NAMES.values()):
        of_row = sorted((r["seed"], r["accuracy"]) for r in runs if r["row"] == row)
        accuracies[row] = np.array([accuracy for _, accuracy in of_row])
    return gains_table(accuracies, ALONE, also={"against KD": accuracies[NAMES["kd"]]})


def main(_):
    """Adds runs to the file and writes the table."""
    if flags.FLAGS.runs:
        lines = [json.dumps(run) for run in read_runs(flags.FLAGS.runs)]
        FILE.write_text("\n".join(lines) + "\n", encoding="utf-8")
    runs = [json.loads(line) for line in FILE.read_text().splitlines()]
    text = f"{SETUP}\n\n{table(runs)}\n\n{runs[0]['machine']}. Command: {COMMAND}."
    print(text)
    write_section(flags.FLAGS.output, TITLE, text)


if __name__ == "__main__":
    app.run(main)
