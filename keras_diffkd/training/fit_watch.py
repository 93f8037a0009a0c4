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
    """Returns the callbacks of `fit` and, before them, those of the distiller."""
    own = [FitWatch(distiller), *distiller.quantization_callbacks()]
    is_list = isinstance(callbacks, keras.callbacks.CallbackList)
    others = callbacks.callbacks if is_list else keras.tree.flatten(callbacks or [])
    distiller.record.waits_for_steps = any(map(_is_told_of_batches, others))
    if is_list:
        for callback in own:
            callbacks.append(callback)
        return callbacks
    return [*own, *others]


def _is_told_of_batches(callback):
    """Returns whether Keras waits for each batch to pass its logs to a callback."""
    return not getattr(callback, "async_safe", False) and any(
        getattr(getattr(callback, name), "__func__", None)
        is not getattr(keras.callbacks.Callback, name)
        for name in ("on_batch_end", "on_train_batch_end")
    )
