"""Skips the batches of an epoch that were trained on before a training was resumed."""

import keras


class PassedBatches:
    """Makes `fit` skip the first batches of an epoch.

    Keras's `fit` can start at an epoch, but not inside one. The function that trains on
    a batch is therefore replaced temporarily with one that only reads the batch, and
    the other callbacks are not called.

    Args:
        model: The `keras.Model` in training.
        callback_list: The `keras.callbacks.CallbackList` of `fit`.
        callback: The only callback that is still called. It calls `count`.
        calls: Integer, the number of calls of the function to skip.
        logs: Dict, the logs of the last skipped call.
        read: Boolean. `True` if the data starts with the epoch, so that the skipped
            batches must be read; `False` if it starts where the training continues.
        first: Callable that receives the first batch, or `None` if none is read.
    """

    def __init__(self, model, callback_list, callback, calls, logs, read, first):
        self._model = model
        self._list = callback_list
        self._left = calls
        self._logs = logs
        self._read = read
        self._first = first
        self._train = model.train_function
        self._callbacks = callback_list.callbacks
        callback_list.callbacks = [callback]
        model.train_function = self._pass

    def count(self):
        """Counts a skipped call and restores `fit` after the last one.

        Returns:
            Boolean, whether it was the last one.
        """
        self._left -= 1
        if not self._left:
            self._restore()
        return not self._left

    def end_of_epoch(self):
        """Raises `ValueError`, because the epoch ended before all batches were skipped.

        On PyTorch, `fit` itself reads the data and ends the epoch with the data.
        """
        self._restore()
        raise self._too_few()

    def _too_few(self):
        return ValueError(
            f"The data ended {self._left} batches before the point in the epoch where "
            "the training continues. Pass the data of the interrupted training, with "
            "the same number of batches in the same order."
        )

    def _restore(self):
        self._model.train_function = self._train
        self._list.callbacks = self._callbacks

    def _pass(self, *arguments):
        # On JAX, the state comes before the data and is returned after the logs.
        *state, data = arguments
        try:
            batch = self._read_batches(data)
            if self._first is not None:
                self._first(batch)
                self._first = None
        except BaseException:
            self._restore()
            raise
        return (self._logs, *state) if state else self._logs

    def _read_batches(self, data):
        """Returns the first batch of a call, or `None` if none is read."""
        if not hasattr(data, "__next__"):  # On PyTorch, `fit` has read the batches.
            if not self._read:
                raise ValueError(
                    "skip_data=False, for data that starts where the training "
                    f"continues, does not work on the backend "
                    f"{keras.backend.backend()!r}: `fit` reads the data before a "
                    "callback can skip steps. Pass skip_data=True and data that starts "
                    "with the epoch."
                )
            return data[0]
        if not self._read:
            return None
        try:
            batch = next(data)
        except StopIteration:
            raise self._too_few() from None
        for _ in range(self._model.steps_per_execution - 1):
            if next(data, None) is None:
                break  # The last call of an epoch may have fewer batches.
        return batch
