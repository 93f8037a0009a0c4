"""Collects the problems and warnings that checks find before training."""

import contextlib

from keras_diffkd.errors import PreflightError


class Findings:
    """Collects problems, which prevent training, and warnings, which do not.

    Attributes:
        errors: List of strings: problems that prevent training.
        warnings: List of strings: settings or data that are allowed but suspicious.
        look: The `Look` at the data, or `None` if the data was not read.
        teacher_accuracy: `(share, examples)`: the share of the teacher's predictions
            that agree with the labels, or `None` if it was not measured.

    Example:

    >>> findings = Findings()
    >>> with findings.collecting():
    ...     raise ValueError("The data is empty.")
    >>> findings.errors
    ['The data is empty.']
    """

    def __init__(self):
        self.errors = []
        self.warnings = []
        self.look = None
        self.teacher_accuracy = None

    def error(self, text):
        """Adds a problem unless it is already listed."""
        if text not in self.errors:
            self.errors.append(text)

    def warn(self, text):
        """Adds a warning unless it is already listed."""
        if text not in self.warnings:
            self.warnings.append(text)

    @contextlib.contextmanager
    def collecting(self):
        """Turns a `ValueError` in the block into a problem, and continues after it."""
        try:
            yield
        except PreflightError as error:
            for problem in error.problems:
                self.error(problem)
        except ValueError as error:
            self.error(str(error))

    def raise_errors(self):
        """Raises `PreflightError` with all problems, if there are any."""
        if self.errors:
            raise PreflightError(self.errors)
