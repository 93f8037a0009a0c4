"""What backups cost: the share of a training's time that the callback takes.

    python benchmarks/backup_cost.py

Runs the experiment digits.flags at the default of --save_every, and counts the time
inside TrainingBackup against the time of the same fit. Writes into docs/resuming.md.
"""

import os
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from absl import app, flags
from report import describe_machine, markdown_table, write_section

from keras_diffkd.callbacks import TrainingBackup
from keras_diffkd.recipes import distill, train_teacher, training
from keras_diffkd.recipes import flags as recipe_flags

OUTPUT = flags.DEFINE_string("output", "docs/resuming.md", "File to write into.")
COMMANDS = {"teacher": train_teacher.main, "distillation": distill.main}
HOOKS = (
    "on_train_begin",
    "on_epoch_begin",
    "on_train_batch_end",
    "on_epoch_end",
    "on_train_end",
)


class TimedBackup(TrainingBackup):
    """Counts the seconds inside its hooks, the saves, and the seconds of `fit`."""

    made = []

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.seconds, self.saves = 0.0, 0
        TimedBackup.made.append(self)

    def _save(self, **kwargs):
        super()._save(**kwargs)
        self.saves += 1


def _timed(name):
    hook = getattr(TrainingBackup, name)

    def run(self, *args, **kwargs):
        started = time.perf_counter()
        if name == "on_train_begin":
            self.started = started
        hook(self, *args, **kwargs)
        self.ended = time.perf_counter()
        self.seconds += self.ended - started

    return run


for name in HOOKS:
    setattr(TimedBackup, name, _timed(name))


def measure(stage, run_dir):
    """Runs a command of the experiment; returns a row of the table."""
    recipe_flags.FLAGS.run_dir = str(run_dir)
    COMMANDS[stage]([])
    backup = TimedBackup.made[-1]
    newest = backup.units.paths()[-1]
    size = sum(file.stat().st_size for file in newest.iterdir())
    total = backup.ended - backup.started
    return [
        stage,
        f"{total:.0f}",
        str(backup.saves),
        f"{size / 1e6:.2f}",
        f"{1e3 * backup.seconds / backup.saves:.1f}",
        f"{backup.seconds / total:.1%}",
    ]


def main(argv):
    """Prints and writes the table."""
    del argv
    training.TrainingBackup = TimedBackup
    with tempfile.TemporaryDirectory() as folder:
        rows = [measure(stage, Path(folder, "run")) for stage in COMMANDS]
    header = ["training", "s", "backups", "MB each", "ms each", "share of the time"]
    epochs, every = recipe_flags.EPOCHS.value, recipe_flags.SAVE_EVERY.value
    text = f"""\
`digits.flags`, {epochs} epochs of 21 steps, `--save_every={every}`: how long the
training takes and how long it waits for backups, which a thread writes.

{markdown_table(header, rows)}

{describe_machine()}. Command: `python benchmarks/backup_cost.py`."""
    print(text)
    write_section(OUTPUT.value, "Cost", text)


if __name__ == "__main__":
    experiment = Path(recipe_flags.__file__).parent / "experiments" / "digits.flags"
    app.run(main, argv=["backup_cost", f"--flagfile={experiment}", *sys.argv[1:]])
