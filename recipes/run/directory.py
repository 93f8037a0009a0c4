"""The folder of a run: what lies where, and whose experiment it holds.

```
R/*.keras.sha256                         the checksums of the models
R/teacher.keras                          the teacher
R/teacher/                               the stage that trained it, as below
R/student.keras                          the distilled student
R/{flags.txt,metrics.jsonl,tensorboard/,checkpoints/}
R/baseline/student.keras                 the student alone
R/baseline/                              its stage, as above
R/failed_batch.npz                       of a training that diverged: its last batch
R/export/                                the artefacts, and report.html
R/export/web/                            the page that runs the student
R/seeds/<n>/                             the same with other seeds, for the report
```
"""

import contextlib
import dataclasses
import shutil
from pathlib import Path

from keras_diffkd.resuming.snapshots import TrainingUnits

from . import experiment
from .checksums import check_checksum


@dataclasses.dataclass(frozen=True)
class Stage:
    """One training of a run: a folder with its records, and the model it makes.

    Args:
        folder: holds `flags.txt`, `metrics.jsonl`, `tensorboard/`, `checkpoints/`.
        model_path: the `.keras` file that exists once the training is finished.
        settings: dict of str to str from `experiment.recorded()`, the training.
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
        return self.model_path.exists() and (self.folder / "flags.txt").exists()

    @property
    def resumable(self):
        """Whether there is a backup to go on from."""
        return bool(TrainingUnits(self.checkpoints).paths())

    def check(self):
        """Raises `ValueError` if the folder holds another experiment.

        Or one whose training cannot be resumed by this version, or whose finished
        model is damaged.
        """
        recorded = experiment.read_flags(self.folder)
        if recorded is None:
            if self.model_path.exists():
                raise ValueError(
                    f"{self.model_path} is there already and was not trained by this "
                    "command. Give another --run_dir"
                )
            return
        before = experiment.identity(recorded, teacher_stage=self.teacher_stage)
        now = experiment.identity(self.settings, teacher_stage=self.teacher_stage)
        if before != now:
            changed = experiment.changed_flags(before, now)
            raise ValueError(
                f"{self.folder} holds another experiment: {changed}. "
                "Give another --run_dir, or the same flags to resume"
            )
        if self.finished:
            check_checksum(self.model_path)
        else:
            TrainingUnits(self.checkpoints).check_kind()

    @contextlib.contextmanager
    def claim(self):
        """Makes the folder this experiment's; takes that back if nothing comes of it.

        When the body fails before there is a first backup, everything it wrote is
        removed again, so that a mistake leaves nothing behind but a failed batch.
        """
        outermost = _first_missing(self.folder)
        before = set(self.folder.iterdir()) if self.folder.exists() else set()
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            if self.folder / "flags.txt" not in before:
                experiment.write_flags(self.folder, self.settings)
            yield
        except BaseException:
            if not self.resumable:
                for path in set(self.folder.iterdir()) - before - {self.failed_batch}:
                    _remove(path)
                if outermost is not None and not any(self.folder.iterdir()):
                    _remove(outermost)
            raise


@dataclasses.dataclass(frozen=True)
class RunDirectory:
    """The folder of a run; see above for what lies in it.

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
    def export(self):
        return self.root / "export"

    def stages(self):
        """The stages, by name, with the current flags as their settings."""
        settings = experiment.recorded()
        alone = experiment.recorded(method=["none"])
        folder = self.baseline.parent
        return {
            "teacher": Stage(self.root / "teacher", self.teacher, settings, True),
            "student": Stage(self.root, self.student, settings),
            "baseline": Stage(folder, self.baseline, alone),
        }

    def check_is_one(self):
        """Raises `ValueError` if the folder exists, is not empty, and is no run."""
        if self.root.exists() and not self.root.is_dir():
            raise ValueError(f"--run_dir must be a folder. Received: {self.root}")
        known = ("flags.txt", "teacher.keras", "teacher/flags.txt")
        known += ("baseline/flags.txt",)
        known += tuple(
            f"{folder}failed_batch.npz" for folder in ("", "baseline/", "teacher/")
        )
        holds_something = self.root.exists() and any(self.root.iterdir())
        if holds_something and not any((self.root / name).exists() for name in known):
            raise ValueError(
                f"{self.root} is not empty and holds no run. Give a new --run_dir"
            )

    def check_finished(self):
        """Reads what the finished distillation was trained with.

        Returns:
            dict of str to str: its flags, as `experiment.recorded()` gives them.

        Raises:
            FileNotFoundError: if `diffkd-distill` has not finished here.
        """
        recorded = experiment.read_flags(self.root)
        if recorded is None or not self.student.exists():
            raise FileNotFoundError(
                f"{self.root} holds no finished distillation: run diffkd-distill "
                f"--run_dir={self.root} first"
            )
        return recorded


def _first_missing(folder):
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    return missing[-1] if missing else None


def _remove(path):
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
