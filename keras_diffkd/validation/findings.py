"""What was found before training: problems, all in one error, and warnings."""

import contextlib

from keras_diffkd.errors import PreflightError


class Findings:
    """Collects what checks have to say.

    Attributes:
        errors: List of strings: what cannot be trained on.
        warnings: List of strings: what is legal and suspicious.
        look: The `Look` at the data, or `None` if there was none.
        teacher_accuracy: `(share, examples)` of the teacher's decisions that agree
            with the labels, or `None` if that was not measured.

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
        """Adds a problem, once."""
        if text not in self.errors:
            self.errors.append(text)

    def warn(self, text):
        """Adds a warning, once."""
        if text not in self.warnings:
            self.warnings.append(text)

    @contextlib.contextmanager
    def collecting(self):
        """Makes a `ValueError` of the block a problem, and goes on after it."""
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
