"""Shows the progress of a training in one line."""

import sys
import time

import keras

SHOWN = ("loss", "accuracy", "val_accuracy", "val_mean_iou", "val_mAP50")
# On a stream that is not a terminal, such as a log file.
SECONDS_BETWEEN_LINES = 10


class Progress(keras.callbacks.Callback):
    """Shows the epoch, the main logs, and an estimate of the remaining seconds.

    A terminal shows one line that changes. A log file gets a new line every few
    seconds, which the progress bars of Keras and rich do not write. The estimate
    excludes the first epoch, which compiles the step.

    Args:
        what: str, the beginning of the line.
        stream: file to write to, by default the standard output.

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
        """Returns an empty state for a snapshot: each process has its own clock."""
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
            # Erase the rest of a longer line.
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
