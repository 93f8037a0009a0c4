"""What a distiller notices of `fit`."""

import warnings

import keras
import numpy as np


class FitWatch(keras.callbacks.Callback):
    """Knows the epoch, for the error about a step; names bad logs of validation.

    A validation loss may be infinite or NaN while all of training is finite: one image
    of the validation data, or moving statistics that are still far off. That is no
    reason to stop, but to be told.

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
                "finite: look for such values in the validation data, or for moving "
                "statistics that are far from those of the batches.",
                stacklevel=2,
            )


def watched(distiller, callbacks):
    """Returns the callbacks of `fit` with a `FitWatch` among them."""
    watch = FitWatch(distiller)
    if isinstance(callbacks, keras.callbacks.CallbackList):
        callbacks.append(watch)
        return callbacks
    return [watch, *keras.tree.flatten(callbacks or [])]
