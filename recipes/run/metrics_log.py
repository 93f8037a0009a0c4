"""Writes and reads `metrics.jsonl`, the logs of every epoch."""

import json
import time
from pathlib import Path

import keras

from keras_diffkd.atomic_files import sync, written_aside
from keras_diffkd.full_disk import named_if_full


class MetricsLog(keras.callbacks.Callback):
    """Writes one line of JSON per epoch.

    A line holds `epoch` (from 1), every log of the epoch, `seconds` and
    `learning_rate`. A training that resumes drops the lines of epochs that it repeats.
    The seconds of an interrupted epoch are the sum of its parts.

    Args:
        path: the file to write, `metrics.jsonl`.

    Example:

    ```python
    model.fit(data, callbacks=[MetricsLog("runs/digits/metrics.jsonl")])
    ```
    """

    def __init__(self, path):
        super().__init__()
        self.path = Path(path)
        self._resumed = False
        self._started = None

    def on_epoch_begin(self, epoch, logs=None):
        if not self._resumed:
            self._drop_lines(epoch)
            self._resumed = True
        self._started = time.monotonic()

    def get_state(self):
        """Returns the state for a snapshot: the seconds of the epoch so far."""
        return {"seconds": time.monotonic() - self._started}

    def set_state(self, state):
        """Continues the count of seconds."""
        self._started = time.monotonic() - state["seconds"]

    def _drop_lines(self, epoch):
        kept = [line for line in read_metrics(self.path) if line["epoch"] <= epoch]
        with written_aside(self.path) as aside:
            aside.write_text("".join(json.dumps(line) + "\n" for line in kept))

    def on_epoch_end(self, epoch, logs=None):
        line = {
            "epoch": epoch + 1,
            **{name: float(value) for name, value in (logs or {}).items()},
            "seconds": round(time.monotonic() - self._started, 3),
            "learning_rate": float(
                keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)
            ),
        }
        with named_if_full(self.path), self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")
        sync(self.path)


def read_metrics(path):
    """Reads a `metrics.jsonl` without a last line that is incomplete.

    Args:
        path: the file, which may be missing.

    Returns:
        List of dicts, one per epoch.
    """
    lines = []
    for text in Path(path).read_text().splitlines() if Path(path).exists() else []:
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            break
    return lines
