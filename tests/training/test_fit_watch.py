"""The callbacks that a distiller adds to those of `fit`."""

import keras
import numpy as np

from keras_diffkd import Distiller


class Epochs(keras.callbacks.Callback):
    """Notes the epochs, and whether the distiller records them."""

    def __init__(self):
        super().__init__()
        self.noted = []

    def on_epoch_begin(self, epoch, logs=None):
        self.noted.append((epoch + 1, self.model.record.epoch))


def test_a_list_of_keras():
    image = keras.Input((6,))
    distiller = Distiller(None, keras.Model(image, keras.layers.Dense(3)(image)), [])
    distiller.compile("sgd", "mse")
    x, y = np.ones((4, 6), "float32"), np.ones((4, 3), "float32")
    epochs = Epochs()
    callbacks = keras.callbacks.CallbackList(
        [epochs], add_history=True, model=distiller
    )
    before = list(callbacks.callbacks)
    for _ in range(2):
        history = distiller.fit(x, y, verbose=0, callbacks=callbacks)
    assert len(history.history["loss"]) == 2  # As in plain Keras, with one list.
    # The distiller's come first, once in each `fit`, and do not stay.
    assert epochs.noted == [(1, 1)] * 2
    assert callbacks.callbacks == before
