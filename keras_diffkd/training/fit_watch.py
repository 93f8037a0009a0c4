"""Records the epoch and reports validation losses that are not finite."""

import warnings

import keras
import numpy as np


class FitWatch(keras.callbacks.Callback):
    """Records the epoch and warns of validation losses that are not finite.

    Errors about a step name the recorded epoch.

    A validation loss can be infinite or NaN although training is finite: because of one
    image in the validation data, or because moving statistics are still far from those
    of the batches. The callback warns and does not stop the training.

    Args:
        distiller: The `Distiller` in training.
    """

    def __init__(self, distiller):
        super().__init__()
        self._record = distiller.record

    def on_epoch_begin(self, epoch, logs=None):
        self._record.epoch = epoch + 1

    def on_epoch_end(self, epoch, logs=None):
        bad = [
            f"{name} is {value}"
            for name, value in (logs or {}).items()
            if name.startswith("val_") and not np.isfinite(value).all()
        ]
        if bad:
            warnings.warn(
                f"Validation after epoch {epoch + 1}: {', '.join(bad)}. Training is "
                "finite. Check the validation data for such values, and whether moving "
                "statistics are far from those of the batches.",
                stacklevel=2,
            )


def watched(distiller, callbacks):
    """Returns the callbacks of `fit` with a `FitWatch` added."""
    watch = FitWatch(distiller)
    if isinstance(callbacks, keras.callbacks.CallbackList):
        callbacks.append(watch)
        return callbacks
    return [watch, *keras.tree.flatten(callbacks or [])]
