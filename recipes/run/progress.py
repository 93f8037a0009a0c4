"""How far a training is, in one line."""

import sys
import time

import keras

SHOWN = ("loss", "accuracy", "val_accuracy", "val_mean_iou", "val_mAP50")
# On a stream that is no terminal, such as a log file.
SECONDS_BETWEEN_LINES = 10


class Progress(keras.callbacks.Callback):
    """Shows epoch, the main logs, and an estimate of the seconds that are left.

    On a terminal the line is rewritten; elsewhere there is a line every few
    seconds. The estimate leaves out the first epoch, which compiles the step.

    Args:
        what: string that the line begins with.
        stream: where to write; standard output by default.

    Example:

    ```python
    model.fit(data, epochs=40, callbacks=[Progress("student")], verbose=0)
    ```
    """

    def __init__(self, what, stream=None):
        super().__init__()
        self.what = what
        self.stream = stream or sys.stdout
        self._measured_from = None
        self._last_shown = None
        self._logs = {}

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch
        if self._last_shown is None:
            self._first_epoch = epoch
            self._show(epoch, 0.0)

    def on_train_batch_end(self, batch, logs=None):
        if self.stream.isatty() and time.monotonic() - self._last_shown > 0.5:
            steps = self.params.get("steps")
            self._show(self._epoch, (batch + 1) / steps if steps else 0.0)

    def on_epoch_end(self, epoch, logs=None):
        if epoch == self._first_epoch:
            self._measured_from = time.monotonic()
        self._logs = logs or {}
        is_last = epoch + 1 == self.params["epochs"]
        pause = 0 if self.stream.isatty() else SECONDS_BETWEEN_LINES
        if is_last or time.monotonic() - self._last_shown >= pause:
            self._show(epoch, 1.0)

    def get_state(self):
        """Returns what a backup keeps: nothing, the clock is that of this process."""
        return {}

    def set_state(self, state):
        """Does nothing."""

    def on_train_end(self, logs=None):
        if self.stream.isatty():
            self.stream.write("\n")
            self.stream.flush()

    def _show(self, epoch, share):
        parts = [f"{self.what}: epoch {epoch + 1}/{self.params['epochs']}"]
        parts += [f"{n} {self._logs[n]:.4g}" for n in SHOWN if n in self._logs]
        left = self._seconds_left(epoch + share)
        if left is not None:
            parts.append(f"{left:.0f} s left")
        line = "  ".join(parts)
        if self.stream.isatty():
            # Erase what a longer line has left behind.
            self.stream.write(f"\r{line}\x1b[K")
        else:
            self.stream.write(line + "\n")
        self.stream.flush()
        self._last_shown = time.monotonic()

    def _seconds_left(self, epochs_done):
        measured = epochs_done - (self._first_epoch + 1)
        if self._measured_from is None or measured <= 0:
            return None
        elapsed = time.monotonic() - self._measured_from
        return elapsed / measured * (self.params["epochs"] - epochs_done)
