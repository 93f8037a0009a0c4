"""The exceptions and warnings that users may want to catch."""

import keras
import numpy as np


class PreflightError(ValueError):
    """Everything that stands against a training, in one error.

    Args:
        problems: List of strings; each says what was received, what was expected
            and what to do.

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
    """Something legal that is a mistake more often than not."""


class TrainingDivergedError(ValueError):
    """Raised before a step would be applied that is not finite.

    Nothing of that step is in the model: weights, optimizer and moving statistics are
    those of the step before. `TrainingBackup` raises it too, without a batch, before it
    would save a variable that is not finite.

    Args:
        message: What was not finite, where, and what to do about it.
        culprits: List of strings, everything that was not finite, causes first.
        epoch: Integer from 1, or `None` outside of `fit`.
        step: Integer from 1: the step in the epoch, skipped steps counted, or `None`
            outside of `fit`.
        batch: Tuple `(x, y, sample_weight)` of the step, as NumPy arrays; on several
            replicas, the share of the replica that failed. `None` if none is to blame.

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
        # Keeps the attributes on the way between processes.
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
                # Strings are objects, which would have to be pickled.
                is_object = array.dtype == object
                arrays["/".join(map(str, path))] = (
                    array.astype(np.bytes_) if is_object else array
                )
        return arrays

    def save_batch(self, path):
        """Writes `arrays()` and the message (`error`) as `.npz`, without pickles.

        Args:
            path: The file, `np.load` reads it.
        """
        with open(path, "wb") as file:
            np.savez_compressed(file, error=np.array(str(self)), **self.arrays())


class UnsafeModelError(ValueError):
    """A model file is damaged, or holds what no file of a Keras model needs to hold.

    The message names the file, what is wrong with it, and what to do.

    Example:

    >>> raise UnsafeModelError("'student.keras' is refused: ...")
    Traceback (most recent call last):
    ...
    keras_diffkd.errors.UnsafeModelError: 'student.keras' is refused: ...
    """
