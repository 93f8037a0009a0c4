"""Lays out the folder of a run, and checks which experiment it holds.

```
R/*.keras.sha256                         the checksums of the models
R/teacher.keras                          the teacher
R/teacher/                               the records of its training, as below
R/teacher/head/                          those of its head, if it is pretrained
R/student.keras                          the distilled student
R/{flags.txt,metrics.jsonl,tensorboard/,checkpoints/}   the records of its training
R/baseline/student.keras                 the student alone
R/baseline/                              the records of its training, as above
R/int8/student.keras                     the student after --quantization_aware
R/int8/                                  the records of its training, as above
R/int8/float.keras                       the student that it started from
R/int8/quantization_ranges.json          the ranges from which int8 files are made
R/candidates.json                        the students that --max_latency_ms measured
R/failed_batch.npz                       the last batch of a training that diverged
R/export/                                the artifacts, and report.html
R/export/web/                            the page that runs the student
R/seeds/<n>/                             the same with other seeds, for the report
```
"""

import contextlib
import dataclasses
import shutil
from pathlib import Path

from keras_diffkd.atomic_files import kept_if_filled
from keras_diffkd.folder_lock import FILE_NAME as LOCK
from keras_diffkd.folder_lock import locked
from keras_diffkd.resuming.snapshots import Snapshots

from . import experiment
from .checksums import check_checksum

# Schedules whose learning rates do not depend on the number of epochs.
_OPEN_ENDED = ("constant", "step")


@dataclasses.dataclass(frozen=True)
class Stage:
    """Describes one training of a run: a folder with its records, and its model.

    Args:
        folder: holds `flags.txt`, `metrics.jsonl`, `tensorboard/`, `checkpoints/`.
        model_path: the `.keras` file, which exists once the training is finished.
        settings: dict of str to str from `experiment.recorded()`.
        teacher_stage: whether this stage trains the teacher.
    """

    folder: Path
    model_path: Path
    settings: dict
    teacher_stage: bool = False

    @property
    def checkpoints(self):
        return self.folder / "checkpoints"

    @property
    def metrics(self):
        return self.folder / "metrics.jsonl"

    @property
    def tensorboard(self):
        return self.folder / "tensorboard"

    @property
    def failed_batch(self):
        return self.folder / "failed_batch.npz"

    @property
    def finished(self):
        """Returns whether there is the model of all epochs."""
        recorded = experiment.read_flags(self.folder)
        if recorded is None or not self.model_path.exists():
            return False
        return not self._more_epochs(recorded)

    def _write_flags(self):
        recorded = experiment.read_flags(self.folder)
        if recorded is None or self._more_epochs(recorded):
            experiment.write_flags(self.folder, self.settings)

    def _more_epochs(self, recorded):
        return int(self.settings["epochs"]) > int(recorded["epochs"])

    @property
    def resumable(self):
        """Returns whether there is a snapshot to resume from."""
        return bool(Snapshots(self.checkpoints).paths())

    def check(self):
        """Raises `ValueError` if the folder cannot take this training.

        It may hold another experiment, a training that this version cannot resume,
        or a finished model that is damaged.
        """
        recorded = experiment.read_flags(self.folder)
        if recorded is None:
            if self.model_path.exists():
                raise ValueError(
                    f"{self.model_path} exists and was not trained by this "
                    "command. Give another --run_dir"
                )
            return
        before = experiment.identity(recorded, teacher_stage=self.teacher_stage)
        now = experiment.identity(self.settings, teacher_stage=self.teacher_stage)
        goes_on = self._more_epochs(recorded) and now["lr_schedule"] in _OPEN_ENDED
        if goes_on:
            before["epochs"] = now["epochs"]
        if before != now:
            changed = experiment.changed_flags(before, now)
            raise ValueError(
                f"{self.folder} holds another experiment: {changed}. "
                "Give another --run_dir, or the same flags to resume (--epochs may be "
                "more with --lr_schedule=constant or step)"
            )
        if self.model_path.exists():
            check_checksum(self.model_path)
        else:
            Snapshots(self.checkpoints).check_kind()

    @contextlib.contextmanager
    def claim(self):
        """Writes the flags into the folder, and removes them if the body fails early.

        If the body fails before the first snapshot, the stage removes everything that
        the body wrote, except for a failed batch.
        """
        before = set(self.folder.iterdir()) if self.folder.exists() else set()
        with kept_if_filled(self.folder):
            try:
                # A finished model keeps its flags until one of more epochs is there.
                if not self.model_path.exists():
                    self._write_flags()
                yield
                self._write_flags()
            except BaseException:
                if not self.resumable:
                    for path in set(self.folder.iterdir()) - before:
                        if path != self.failed_batch:
                            _remove(path)
                raise


@dataclasses.dataclass(frozen=True)
class RunDirectory:
    """Gives the paths in the folder of a run; see above.

    Args:
        root: the folder, from `--run_dir`.

    Example:

    ```python
    run = RunDirectory(Path("runs/digits"))
    student = keras.models.load_model(run.student)
    ```
    """

    root: Path

    @property
    def teacher(self):
        return self.root / "teacher.keras"

    @property
    def student(self):
        return self.root / "student.keras"

    @property
    def baseline(self):
        return self.root / "baseline" / "student.keras"

    @property
    def quantized(self):
        return self.root / "int8" / "student.keras"

    @property
    def export(self):
        return self.root / "export"

    def stages(self):
        """Returns the stages by name, with the current flags as their settings."""
        settings = experiment.recorded()
        alone = experiment.recorded(method=["none"])
        folder = self.baseline.parent
        return {
            "teacher": Stage(self.root / "teacher", self.teacher, settings, True),
            "student": Stage(self.root, self.student, settings),
            "baseline": Stage(folder, self.baseline, alone),
        }

    def quantized_stage(self):
        """Returns the stage that trains the student in int8, with the current flags."""
        folder = self.quantized.parent
        return Stage(folder, self.quantized, experiment.recorded())

    def check_is_one(self):
        """Raises `ValueError` if the folder has files and is not a run."""
        if self.root.exists() and not self.root.is_dir():
            raise ValueError(f"--run_dir must be a folder. Received: {self.root}")
        known = ("flags.txt", "teacher.keras", "teacher/flags.txt")
        known += ("baseline/flags.txt", "candidates.json", "teacher/head/flags.txt")
        known += tuple(
            f"{folder}failed_batch.npz" for folder in ("", "baseline/", "teacher/")
        )
        # A process that was killed leaves its lock.
        names = {path.name for path in self.root.glob("*")} - {LOCK}
        if names and not any((self.root / name).exists() for name in known):
            raise ValueError(
                f"{self.root} is not empty and is not a run. Give a new --run_dir"
            )

    def locked(self):
        """Returns the context in which no other process can train here.

        It raises `ValueError` if another process does.
        """
        return locked(self.root / LOCK, f"writes to {self.root}")

    def check_finished(self):
        """Reads the flags of the finished distillation.

        Returns:
            dict of str to str, as `experiment.recorded()` returns it.

        Raises:
            FileNotFoundError: if `diffkd-distill` has not finished here.
        """
        recorded = experiment.read_flags(self.root)
        if recorded is None or not self.student.exists():
            raise FileNotFoundError(
                f"{self.root} does not hold a finished distillation: run "
                f"diffkd-distill --run_dir={self.root} first"
            )
        return recorded


def _remove(path):
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
