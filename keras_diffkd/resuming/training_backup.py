"""A training that goes on where it was killed."""

import functools
import inspect
import json
import weakref

import keras
import numpy as np

from keras_diffkd.errors import OtherTrainingError, TrainingDivergedError
from keras_diffkd.keras_private.trainer import model_of, set_initial_epoch
from keras_diffkd.resuming.callback_states import CallbackStates
from keras_diffkd.resuming.fingerprints import (
    TEACHER,
    constant_learning_rate,
    differences,
    model_fingerprint,
)
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
from keras_diffkd.training.loss_weights import assign_numbers, numbers_of
from keras_diffkd.validation.arguments import check_integer

# Optimizers whose training was interrupted in this process, or goes on.
_IN_TRAINING = weakref.WeakSet()


class TrainingBackup(keras.callbacks.Callback):
    """Saves a training while it runs; the same `fit` again goes on where it stopped.

    A training that was killed at any moment ends with the weights, and the history,
    that it would have had otherwise. Saved are all variables of model and optimizer
    (heads, moving statistics, random seeds, loss scale), the metrics, what the losses
    weigh (numbers of a distiller and its methods, in attributes named `weight` or
    `..._weight`), and what the other callbacks remember (`EarlyStopping`,
    `ReduceLROnPlateau`, `History`, ...); of a teacher only the
    SHA-256 of its weights. See docs/resuming.md for the files.

    Works with any `keras.Model`. The callback runs after all others, wherever it is in
    their list. When a training is over, so is the same `fit` at once, unless it asks
    for more epochs; one that was stopped early does not go on.

    A callback of yours is asked for what it remembers if it has `get_state()`, which
    returns a dict, and `set_state(state)`; otherwise its changed attributes are saved.

    Args:
        directory: Folder for the backups of this training alone.
        save_freq: Integer, steps between two backups in an epoch, or `None` for none.
            There always is one at the end of an epoch.
        skip_data: Whether the data passed to `fit` begins with the epoch. It must
            have the same order in every epoch, or one that depends on the epoch alone,
            and the batches that were trained on are read and left out. `False`: it
            begins at the step where the training goes on, which `position` tells.
        fingerprint: Anything that JSON can hold and that must be the same when the
            training goes on, such as `{"data": "digits 1.0", "seed": 3}`.

    Raises:
        ValueError: If an argument is out of range; when training begins, if all
            backups are damaged, or are of another model, optimizer, learning rate,
            loss, metrics or fingerprint.
        TrainingDivergedError: When a backup is due, if a variable is not finite.
        OSError: At the next backup, if one could not be written.

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
        """Returns where the training goes on, a `Position`; all 0 if it begins."""
        self._found = self.snapshots.newest()
        return position_of(self._found)

    def set_model(self, model):
        super().set_model(model)
        self._list = _callback_list()
        others = [callback for callback in self._list.callbacks if callback is not self]
        # A new list: Keras is going through the old one.
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
        self._first_weights = self._weights_at_begin(snapshot)
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
        self._first_rate = constant_learning_rate(model.optimizer)
        if snapshot is not None:
            self._go_on(snapshot)
        _IN_TRAINING.add(model.optimizer)

    def _go_on(self, snapshot):
        model = self.model
        self._check_same(snapshot)
        self._first_rate = snapshot.state["learning rates"]["first"]
        self._restore(snapshot)
        # Keras resets them when an epoch begins: what is left is what outlives that.
        self._arrays.restore_built_metrics(snapshot)
        epoch = self.params["epochs"] if self._stopped else self._at.epoch
        set_initial_epoch(model, epoch)

    def on_epoch_begin(self, epoch, logs=None):
        snapshot, self._resumed = self._resumed, None
        set_initial_epoch(model_of(self), None)  # Not for the next `fit`.
        if snapshot is None or not snapshot.state["calls"]:
            self._at = Position(epoch, 0, self._at.step)
            self._calls = 0
            self._generators = backend.read_generators()
            return
        # The other callbacks have begun the epoch a second time.
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
        # When something stops the training, its epoch ends here.
        if due and not model_of(self).stop_training:
            self._save(logs=logs, calls=self._calls)

    def on_epoch_end(self, epoch, logs=None):
        if self._passed is not None:
            self._passed.end_of_epoch()
        self._at = Position(epoch + 1, 0, self._at.step)
        self._stopped = bool(model_of(self).stop_training)
        self._save()

    def on_train_end(self, logs=None):
        # The last backup is from before the other callbacks' `on_train_end`, which may
        # change the weights: when a finished `fit` is run again, they do so again.
        self.snapshots.wait()
        set_initial_epoch(model_of(self), None)
        _IN_TRAINING.discard(model_of(self).optimizer)

    def _save(self, calls=0, logs=None):
        model = self.model  # On JAX this brings the variables up to date.
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
                "learning rates": {
                    "first": self._first_rate,
                    "last": constant_learning_rate(model.optimizer),
                },
                "loss weights": {
                    "first": self._first_weights,
                    "last": numbers_of(model),
                },
            },
        )

    def _check_finite(self, variables, values):
        for variable, value in zip(variables, values, strict=True):
            if not is_finite(variable, value):
                raise TrainingDivergedError(
                    f"The variable {variable.path!r} is not finite after "
                    f"{self._at.step} steps, and is not saved: the backup before is "
                    f"kept. {_advice(variable)}",
                    culprits=[f"the variable {variable.path!r}"],
                    epoch=self._at.epoch + bool(self._at.step_in_epoch),
                    step=self._calls * model_of(self).steps_per_execution,
                )

    def _check_workers_agree(self):
        steps = backend.numbers_of_workers(model_of(self), self._at.step)
        if len(set(steps)) > 1:
            raise ValueError(
                "The workers of this training found different backups, and would train "
                f"different models. Received: backups of the steps {steps}. The folder "
                f"{self.snapshots.directory} must be one that all of them see."
            )

    def _check_same(self, snapshot):
        before, now = snapshot.state["fingerprint"], self._fingerprint
        if not self._is_rate_of(snapshot):
            first = snapshot.state["learning rates"]["first"]
            before = {**before, "learning rate": first}
            now = {**now, "learning rate": self._first_rate}
        found = differences(before, now)
        if found:
            other_teacher = before[TEACHER] != now[TEACHER]
            raise OtherTrainingError(snapshot.path, found, other_teacher)

    def _weights_at_begin(self, snapshot):
        """Returns what the losses weighed when the training began.

        Like learning rates, they may be what this training has made of them.
        """
        now = numbers_of(self.model)
        known = snapshot and snapshot.state.get("loss weights")
        if known and (now == known["last"] or self.model.optimizer in _IN_TRAINING):
            assign_numbers(self.model, known["first"])
            return known["first"]
        return now

    def _restore(self, snapshot):
        self._arrays.restore(snapshot)
        # The order of the epoch's data may be drawn from them when it begins.
        of_epoch = arrays_of(snapshot, "generators of the epoch")
        backend.assign_generators(of_epoch or arrays_of(snapshot, "generators"))
        self._states.set(snapshot.state["callbacks"], snapshot.arrays)
        if "loss weights" in snapshot.state:
            assign_numbers(self.model, snapshot.state["loss weights"]["last"])

    def _is_rate_of(self, snapshot):
        """Whether the learning rate is one that this training gave the optimizer.

        A script that is run again gives the one that the training began with. The same
        model, passed to `fit` again, has what callbacks made of it: that of the backup,
        or a later one if it was interrupted after the backup.
        """
        is_of_training = self._first_rate in snapshot.state["learning rates"].values()
        return is_of_training or self.model.optimizer in _IN_TRAINING


def _advice(variable):
    if variable.path.endswith("dynamic_scale"):
        return (
            "The loss scale has grown without end: no gradient ever overflows. Check "
            "whether gradients are zero, raise `dynamic_growth_steps` of the "
            "LossScaleOptimizer, or train in mixed_bfloat16 or float32."
        )
    return (
        "The training has diverged: try a smaller learning rate, or clip the gradients."
    )


def _callback_list():
    """Returns the list of callbacks that the calling `fit` goes through.

    Keras does not tell a callback of the others.
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
            "A model must be built before its training can be resumed: call it on a "
            f"batch, or give it an Input. Received: the unbuilt model {model.name!r}"
        )
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
