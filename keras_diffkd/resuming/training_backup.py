"""Defines the callback that saves snapshots and resumes an interrupted training."""

import functools
import inspect
import json

import keras
import numpy as np

from keras_diffkd.errors import OtherTrainingError, TrainingDivergedError
from keras_diffkd.keras_private.trainer import model_of, set_initial_epoch
from keras_diffkd.resuming.callback_states import CallbackStates
from keras_diffkd.resuming.fingerprints import (
    TEACHER,
    differences,
    model_fingerprint,
)
from keras_diffkd.resuming.initial_settings import InitialSettings
from keras_diffkd.resuming.model_arrays import (
    ModelArrays,
    arrays_of,
    is_finite,
    numbered,
)
from keras_diffkd.resuming.passed_batches import PassedBatches
from keras_diffkd.resuming.position import Position, position_of
from keras_diffkd.resuming.snapshots import Snapshots
from keras_diffkd.training import backend
from keras_diffkd.validation.arguments import check_integer


class TrainingBackup(keras.callbacks.Callback):
    """Saves snapshots of a training; the same `fit` resumes where the training stopped.

    A training that was killed at any moment ends with the same weights and history as
    without the interruption. A snapshot holds all variables of model and optimizer
    (heads, moving statistics, random seeds, loss scale), the metrics, the loss weights
    (numbers of a distiller and its methods, in attributes named `weight` or
    `..._weight`), and the states of the other callbacks (`EarlyStopping`,
    `ReduceLROnPlateau`, `History`, ...). For a teacher, it holds only the SHA-256 of
    the weights. See docs/resuming.md for the files.

    The callback works with any `keras.Model`. It runs after all other callbacks,
    wherever it is in their list. If a training is complete, the same `fit` ends
    immediately, unless it has more epochs. A training that was stopped early does not
    continue.

    To control the saved state of your own callback, define `get_state()`, which returns
    a dict, and `set_state(state)`. Otherwise its changed attributes are saved.

    Args:
        directory: Folder for the snapshots of this training only.
        save_freq: Integer, the number of steps between two snapshots in an epoch, or
            `None` for none. There is always a snapshot at the end of an epoch.
        skip_data: Boolean. If `True`, the data passed to `fit` starts with the epoch,
            and the batches before the resumed step are read and skipped. The order of
            the data must be the same in every epoch, or depend only on the epoch. If
            `False`, the data starts at the resumed step, which `position` returns.
        fingerprint: Value that JSON can hold and that must be the same when the
            training is resumed, such as `{"data": "digits 1.0", "seed": 3}`.

    Raises:
        ValueError: If an argument is out of range, or, when training begins, if all
            snapshots are damaged or belong to another model, optimizer, learning rate,
            loss, metrics or fingerprint.
        TrainingDivergedError: If a variable is not finite when a snapshot is due.
        OSError: At the next snapshot, if one could not be written.

    Example:

    >>> import tempfile
    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    >>> model.compile("sgd", "mse")
    >>> x, y = np.ones((8, 3)), np.ones((8, 2))
    >>> folder = tempfile.mkdtemp()
    >>> backup = TrainingBackup(folder, save_freq=1)
    >>> history = model.fit(
    ...     x, y, batch_size=2, epochs=2, shuffle=False, verbose=0, callbacks=[backup])
    >>> TrainingBackup(folder).position()
    Position(epoch=2, step_in_epoch=0, step=8)
    """

    def __init__(self, directory, *, save_freq=500, skip_data=True, fingerprint=None):
        super().__init__()
        if save_freq is not None:
            save_freq = check_integer("save_freq", save_freq, 1)
        self.snapshots = Snapshots(directory)
        self.save_freq = save_freq
        self.skip_data = skip_data
        self.fingerprint = fingerprint
        self._found = None

    def position(self):
        """Returns the `Position` at which the training continues."""
        self._found = self.snapshots.newest()
        return position_of(self._found)

    def set_model(self, model):
        super().set_model(model)
        self._list = _callback_list()
        others = [callback for callback in self._list.callbacks if callback is not self]
        # This creates a new list, because Keras is iterating over the old one.
        self._list.callbacks = [*others, self]

    def on_train_begin(self, logs=None):
        model = self.model
        _check_built(model)
        self._states = CallbackStates(
            [callback for callback in self._list.callbacks if callback is not self]
        )
        self._arrays = ModelArrays(model)
        self._passed = None
        snapshot, self._found = self._found or self.snapshots.newest(), None
        # The fingerprint holds the loss weights of the start.
        self._initial = InitialSettings(model, snapshot)
        self._fingerprint = json.loads(
            json.dumps(
                {
                    **model_fingerprint(model),
                    "steps per epoch": self.params.get("steps"),
                    "fingerprint": self.fingerprint,
                }
            )
        )
        self._resumed = snapshot
        self._at = position_of(snapshot)
        self._check_workers_agree()
        self._saved_step = self._at.step
        self._stopped = snapshot is not None and snapshot.state["stopped"]
        set_initial_epoch(model, None)
        if snapshot is not None:
            self._go_on(snapshot)
        self._initial.begin_training()

    def _go_on(self, snapshot):
        self._check_same(snapshot)
        self._restore(snapshot)
        # Keras resets metrics when an epoch begins, except values that outlive epochs.
        self._arrays.restore_built_metrics(snapshot)
        epoch = self.params["epochs"] if self._stopped else self._at.epoch
        set_initial_epoch(model_of(self), epoch)

    def on_epoch_begin(self, epoch, logs=None):
        snapshot, self._resumed = self._resumed, None
        set_initial_epoch(model_of(self), None)  # The next `fit` must not use it.
        if snapshot is None or not snapshot.state["calls"]:
            self._at = Position(epoch, 0, self._at.step)
            self._calls = 0
            self._generators = backend.read_generators()
            return
        # The other callbacks have started this epoch again: restore their states.
        self._restore(snapshot)
        self._arrays.restore_built_metrics(snapshot)
        self._generators = arrays_of(snapshot, "generators of the epoch")
        self._calls = snapshot.state["calls"]
        self._resumed_inside = snapshot
        self._passed = PassedBatches(
            self.model,
            self._list,
            self,
            calls=self._calls,
            logs=snapshot.state["logs"],
            read=self.skip_data,
            first=functools.partial(self._arrays.restore_unbuilt_metrics, snapshot),
        )

    def on_train_batch_end(self, batch, logs=None):
        if self._passed is not None:
            if self._passed.count():
                snapshot, self._resumed_inside = self._resumed_inside, None
                backend.assign_generators(arrays_of(snapshot, "generators"))
                self._passed = None
            return
        self._calls += 1
        steps = model_of(self).steps_per_execution
        self._at = Position(
            self._at.epoch, self._at.step_in_epoch + steps, self._at.step + steps
        )
        due = self.save_freq and self._at.step - self._saved_step >= self.save_freq
        # If the training is being stopped, the epoch ends here and is saved then.
        if due and not model_of(self).stop_training:
            self._save(logs=logs, calls=self._calls)

    def on_epoch_end(self, epoch, logs=None):
        if self._passed is not None:
            self._passed.end_of_epoch()
        self._at = Position(epoch + 1, 0, self._at.step)
        self._stopped = bool(model_of(self).stop_training)
        self._save()

    def on_train_end(self, logs=None):
        # The last snapshot is from before the `on_train_end` of the other callbacks. If
        # they change the weights, they do so again when a finished `fit` is repeated.
        self.snapshots.wait()
        set_initial_epoch(model_of(self), None)
        self._initial.end_training()

    def _save(self, calls=0, logs=None):
        model = self.model  # On JAX, this updates the variables.
        arrays = self._arrays.read(self._check_finite)
        arrays |= numbered("generators", backend.read_generators())
        if calls:
            arrays |= numbered("generators of the epoch", self._generators)
        self._saved_step = self._at.step
        if not backend.is_chief(model):
            return
        callbacks = self._states.get(arrays)
        self.snapshots.write(
            self._at.step,
            arrays,
            {
                **self._at._asdict(),
                "calls": calls,
                "logs": {k: np.asarray(v).tolist() for k, v in (logs or {}).items()},
                "stopped": self._stopped,
                "callbacks": callbacks,
                "fingerprint": self._fingerprint,
                **self._initial.state(),
            },
        )

    def _check_finite(self, variables, values):
        for variable, value in zip(variables, values, strict=True):
            if not is_finite(variable, value):
                raise TrainingDivergedError(
                    f"The variable {variable.path!r} is not finite after "
                    f"{self._at.step} steps, so no snapshot is saved. The previous one "
                    f"is kept. {_advice(variable)}",
                    culprits=[f"the variable {variable.path!r}"],
                    epoch=self._at.epoch + bool(self._at.step_in_epoch),
                    step=self._calls * model_of(self).steps_per_execution,
                )

    def _check_workers_agree(self):
        steps = backend.numbers_of_workers(model_of(self), self._at.step)
        if len(set(steps)) > 1:
            raise ValueError(
                "The workers of this training found different snapshots and would "
                f"train different models. Received: snapshots of the steps {steps}. "
                f"Put {self.snapshots.directory} on a disk that all workers share."
            )

    def _check_same(self, snapshot):
        before, now = snapshot.state["fingerprint"], self._fingerprint
        if not self._initial.is_of_training:
            first = snapshot.state["learning rates"]["first"]
            before = {**before, "learning rate": first}
            now = {**now, "learning rate": self._initial.learning_rate}
        found = differences(before, now)
        if found:
            other_teacher = before[TEACHER] != now[TEACHER]
            raise OtherTrainingError(snapshot.path, found, other_teacher)

    def _restore(self, snapshot):
        self._arrays.restore(snapshot)
        # The order of the data may be drawn from these when the epoch begins.
        of_epoch = arrays_of(snapshot, "generators of the epoch")
        backend.assign_generators(of_epoch or arrays_of(snapshot, "generators"))
        self._states.set(snapshot.state["callbacks"], snapshot.arrays)
        self._initial.restore_weights(snapshot)


def _advice(variable):
    if variable.path.endswith("dynamic_scale"):
        return (
            "The loss scale has grown without limit, because no gradient overflows. "
            "Check whether gradients are zero, raise `dynamic_growth_steps` of the "
            "LossScaleOptimizer, or train in mixed_bfloat16 or float32."
        )
    return (
        "The training has diverged. Try a smaller learning rate, or clip the gradients."
    )


def _callback_list():
    """Returns the list of callbacks of the calling `fit`.

    Keras does not pass it to callbacks.
    """
    frame = inspect.currentframe()
    while frame is not None:
        caller = frame.f_locals.get("self")
        if isinstance(caller, keras.callbacks.CallbackList):
            return caller
        frame = frame.f_back
    raise ValueError(
        "TrainingBackup must be one of the callbacks of `fit`: "
        "`model.fit(..., callbacks=[backup])`."
    )


def _check_built(model):
    if not model.built:
        raise ValueError(
            "The model must be built before its training can be resumed. Received: "
            f"{model.name!r}, which is not built. Call it on a batch, or give it an "
            "Input"
        )
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
