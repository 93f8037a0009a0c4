"""Defines the exceptions and warnings that users may want to catch."""

import keras
import numpy as np


class PreflightError(ValueError):
    """Raised before training, with every problem that the checks found.

    Args:
        problems: List of strings. Each says what was received, what was expected,
            and what to do next.

    Attributes:
        problems: The same list.

    Example:

    >>> print(PreflightError(["No labels.", "No images."]))
    2 problems were found; nothing was trained:
    1. No labels.
    2. No images.
    """

    def __init__(self, problems):
        self.problems = list(problems)
        if len(self.problems) == 1:
            message = self.problems[0]
        else:
            message = f"{len(self.problems)} problems were found; nothing was trained:"
            for number, problem in enumerate(self.problems, start=1):
                message += f"\n{number}. {problem}"
        super().__init__(message)


class PreflightWarning(UserWarning):
    """Warns of something that is allowed but usually a mistake."""


class DataWarning(UserWarning):
    """Warns of files of a data set that are left out, converted or suspicious."""


class TrainingDivergedError(ValueError):
    """Raised instead of applying a step that is not finite.

    The step changes nothing: weights, optimizer and moving statistics keep the values
    of the step before. `TrainingBackup` also raises this error, without a batch,
    instead of saving a variable that is not finite.

    Args:
        message: String that names the values that are not finite, says where they
            are, and what to do next.
        culprits: List of strings: everything that is not finite, causes first.
        epoch: Integer from 1, or `None` outside `fit`.
        step: Integer from 1: the step in the epoch, skipped steps included, or `None`
            outside `fit`.
        batch: Tuple `(x, y, sample_weight)` of the step, as NumPy arrays. With several
            replicas, it is the part of the batch on the replica that failed. `None` if
            no batch caused the error.

    Example:

    >>> error = TrainingDivergedError(
    ...     "training diverged", batch=(np.ones((2, 8)), {"boxes": np.ones(2)}, None))
    >>> sorted(error.arrays())
    ['x', 'y/boxes']
    """

    def __init__(self, message, culprits=(), epoch=None, step=None, batch=None):
        super().__init__(message)
        self.culprits = list(culprits)
        self.epoch = epoch
        self.step = step
        self.batch = batch

    def __reduce__(self):
        # Exceptions pickle their message alone: this keeps the attributes.
        values = self.culprits, self.epoch, self.step, self.batch
        return type(self), (str(self), *values)

    def arrays(self):
        """Returns the batch as a flat dict: `x`, `y/boxes`, `sample_weight`, ..."""
        if self.batch is None:
            return {}
        named = dict(zip(("x", "y", "sample_weight"), self.batch, strict=True))
        arrays = {}
        for path, leaf in keras.tree.flatten_with_path(named):
            if leaf is not None:
                array = np.asarray(leaf)
                # NumPy would have to pickle strings, which are objects.
                is_object = array.dtype == object
                arrays["/".join(map(str, path))] = (
                    array.astype(np.bytes_) if is_object else array
                )
        return arrays

    def save_batch(self, path):
        """Writes `arrays()` and the message (`error`) as `.npz`, without pickles.

        Args:
            path: Path of the file to write. `np.load` reads it.
        """
        with open(path, "wb") as file:
            np.savez_compressed(file, error=np.array(str(self)), **self.arrays())


class UnsafeModelError(ValueError):
    """Raised for a model file that is damaged or holds unsafe content.

    The message names the file and says what is wrong with it and what to do next.
    """


class OtherTrainingError(ValueError):
    """Raised if a snapshot belongs to another training.

    Args:
        path: Path of the snapshot.
        differences: String that lists the differences.
        other_teacher: Boolean, whether the teacher differs.
    """

    def __init__(self, path, differences, other_teacher=False):
        super().__init__(
            f"{path} is a snapshot of another training: {differences}. To resume, use "
            "the same model, data and settings. To start a new training, use another "
            "directory."
        )
        self.path = path
        self.differences = differences
        self.other_teacher = other_teacher

    def __reduce__(self):
        return type(self), (self.path, self.differences, self.other_teacher)


class ExportError(RuntimeError):
    """Raised if a student cannot be exported in one of the formats.

    The message names the format, quotes the converter's error and says what to do next.

    Example:

    ```python
    try:
        export_student(student, "runs/digits/export")
    except ExportError as error:
        print(error)
    ```
    """


class VerificationError(ExportError):
    """Raised if an exported file is damaged or does not match the student.

    Args:
        report: Dict, the whole report of `keras_diffkd.export.verify`, also available
            as the attribute `report`. Its `"failures"` map each failed file to a list
            of reasons, which the message repeats.
        advice: String, the end of the message.

    Example:

    ```python
    error = VerificationError(
        {"output_dir": "export", "failures": {"student.onnx": ["missing"]}}
    )
    print(error)  # Verification of export failed. student.onnx: missing
    ```
    """

    def __init__(self, report, advice=""):
        self.report = report
        failures = "; ".join(
            f"{file}: {', '.join(reasons)}"
            for file, reasons in report["failures"].items()
        )
        super().__init__(
            f"Verification of {report['output_dir']} failed. {failures}{advice}"
        )


class ManifestError(ValueError):
    """Raised if `manifest.json` is missing or was not written by `export_student`.

    Example:

    ```python
    try:
        read_manifest("somewhere")
    except ManifestError as error:
        print(error)  # missing
    ```
    """
