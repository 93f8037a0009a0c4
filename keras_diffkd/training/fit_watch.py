"""Records the epoch and reports validation losses that are not finite."""

import contextlib
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


@contextlib.contextmanager
def watched(distiller, callbacks):
    """Yields the callbacks of `fit` and, before them, those of the distiller.

    A `keras.callbacks.CallbackList` contains those of the distiller inside the context.
    """
    own = [FitWatch(distiller), *distiller.quantization_callbacks()]
    others = listed(callbacks)
    distiller.record.waits_for_steps = any(map(_is_told_of_batches, others))
    if not isinstance(callbacks, keras.callbacks.CallbackList):
        yield [*own, *others]
        return
    for callback in own:
        # Keras sets these for its own list only.
        callback.set_model(distiller)
        callback.set_params(callbacks.params)
    callbacks.callbacks[:0] = own
    try:
        yield callbacks
    finally:
        added = {id(callback) for callback in own}
        callbacks.callbacks[:] = [c for c in callbacks.callbacks if id(c) not in added]


def listed(callbacks):
    """Returns the argument `callbacks` of `fit` as a list of single callbacks."""
    if isinstance(callbacks, keras.callbacks.CallbackList):
        return list(callbacks.callbacks)
    return keras.tree.flatten(callbacks or [])


def _is_told_of_batches(callback):
    """Returns whether Keras waits for each batch to pass its logs to a callback."""
    return not getattr(callback, "async_safe", False) and any(
        getattr(getattr(callback, name), "__func__", None)
        is not getattr(keras.callbacks.Callback, name)
        for name in ("on_batch_end", "on_train_batch_end")
    )
