"""Keeps the learning rate and the loss weights with which a training began."""

import weakref

from keras_diffkd.resuming.fingerprints import constant_learning_rate
from keras_diffkd.training.loss_weights import assign_numbers, numbers_of

# Optimizers whose training is running or was interrupted in this process.
_IN_TRAINING = weakref.WeakSet()


class InitialSettings:
    """Finds the settings with which a training began, although callbacks change them.

    A script that runs again sets the learning rate and the loss weights of the start.
    The same model, if it is passed to `fit` again, has those that callbacks set: the
    ones in the snapshot, or later ones if the training was interrupted after it.

    Args:
        model: Compiled `keras.Model`, whose loss weights become those of the start.
        snapshot: The `Snapshot` at which its training continues, or `None`.

    Attributes:
        learning_rate: Float, or `None` for a schedule.
        is_of_training: Boolean, whether the learning rate is one of the snapshot's
            training.

    Example:

    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    >>> model.compile(keras.optimizers.SGD(0.1), "mse")
    >>> InitialSettings(model, None).state()["learning rates"]
    {'first': 0.1, 'last': 0.1}
    """

    def __init__(self, model, snapshot):
        self._model = model
        self.learning_rate = constant_learning_rate(model.optimizer)
        self.is_of_training = True
        self._weights = numbers_of(model)
        if snapshot is not None:
            self._compare(snapshot.state)

    def _compare(self, state):
        same_model = self._model.optimizer in _IN_TRAINING
        rates = state["learning rates"]
        self.is_of_training = same_model or self.learning_rate in rates.values()
        if self.is_of_training:
            self.learning_rate = rates["first"]
        weights = state.get("loss weights")
        if weights and (same_model or self._weights == weights["last"]):
            assign_numbers(self._model, weights["first"])
            self._weights = weights["first"]

    def begin_training(self):
        """Notes that the training runs."""
        _IN_TRAINING.add(self._model.optimizer)

    def end_training(self):
        """Notes that the training is complete."""
        _IN_TRAINING.discard(self._model.optimizer)

    def state(self):
        """Returns the settings of the start and the current ones, for a snapshot."""
        return {
            "learning rates": {
                "first": self.learning_rate,
                "last": constant_learning_rate(self._model.optimizer),
            },
            "loss weights": {"first": self._weights, "last": numbers_of(self._model)},
        }

    def restore_weights(self, snapshot):
        """Sets the loss weights to the last ones of a snapshot."""
        if "loss weights" in snapshot.state:
            assign_numbers(self._model, snapshot.state["loss weights"]["last"])
