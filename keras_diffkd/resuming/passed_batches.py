"""Going through the batches of an epoch that a training has behind it."""

import keras


class PassedBatches:
    """Lets `fit` pass the first batches of an epoch without training on them.

    Keras's `fit` can begin at an epoch, not inside one. So its function that trains
    on a batch is replaced for a while by one that reads the batch and does nothing
    with it, and the other callbacks are not told.

    Args:
        model: The `keras.Model` in training.
        callback_list: The `keras.callbacks.CallbackList` of `fit`.
        callback: The callback that is told nevertheless, and calls `count`.
        calls: Integer, how many calls of the function have been made before.
        logs: Dict, the logs of the last of them.
        read: Whether the data begins with the epoch, so that the batches must be
            read, or where the training goes on.
        first: Callable on the first batch, or on `None` if none is read.
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
        """Says that a call is over; after the last one everything is as it was.

        Returns:
            Whether it was the last one.
        """
        self._left -= 1
        if not self._left:
            self._put_back()
        return not self._left

    def end_of_epoch(self):
        """Raises `ValueError`: the epoch has ended before all were passed.

        On PyTorch, `fit` itself reads the data, and ends an epoch that has no more.
        """
        self._put_back()
        raise self._too_few()

    def _too_few(self):
        return ValueError(
            f"The data ended {self._left} batches before the point in the epoch "
            "where the training goes on. It must be the data of the interrupted "
            "training: as many batches, in the same order."
        )

    def _put_back(self):
        self._model.train_function = self._train
        self._list.callbacks = self._callbacks

    def _pass(self, *arguments):
        # On JAX the state comes before the data, and is returned after the logs.
        *state, data = arguments
        try:
            batch = self._read_batches(data)
            if self._first is not None:
                self._first(batch)
                self._first = None
        except BaseException:
            self._put_back()
            raise
        return (self._logs, *state) if state else self._logs

    def _read_batches(self, data):
        """Returns a batch, or `None` if none is read."""
        if not hasattr(data, "__next__"):  # On PyTorch `fit` has read them itself.
            if not self._read:
                raise ValueError(
                    "Data that starts where the training goes on (skip_data=False) "
                    f"cannot be used on the backend {keras.backend.backend()!r}: fit "
                    "reads it before a callback can tell. Pass skip_data=True and data "
                    "that starts with the epoch."
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
                break  # The last batches of an epoch may be fewer.
        return batch
