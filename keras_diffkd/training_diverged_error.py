"""The error that ends a training whose numbers are no longer finite."""

import keras
import numpy as np


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
