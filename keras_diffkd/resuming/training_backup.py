"""A training that goes on where it was killed."""

import functools
import inspect
import itertools
import json
import typing
import weakref

import keras
import numpy as np
from keras.src.backend.common import global_state
from keras.src.random.seed_generator import GLOBAL_SEED_GENERATOR, global_seed_generator

from keras_diffkd.errors import TrainingDivergedError
from keras_diffkd.resuming.callback_states import CallbackStates
from keras_diffkd.resuming.fingerprints import (
    TEACHER,
    OtherTrainingError,
    constant_learning_rate,
    differences,
    model_fingerprint,
)
from keras_diffkd.resuming.passed_batches import PassedBatches
from keras_diffkd.resuming.snapshots import TrainingUnits
from keras_diffkd.training import backend
from keras_diffkd.training.loss_weights import assign_numbers, numbers_of
from keras_diffkd.validation.arguments import check_integer

# Optimizers whose training was interrupted in this process, or goes on.
_IN_TRAINING = weakref.WeakSet()


class Position(typing.NamedTuple):
    """How far a training is.

    Attributes:
        epoch: Integer, the epoch that it is in, from 0.
        step_in_epoch: Integer, steps of that epoch that are done.
        step: Integer, all steps that are done.
    """

    epoch: int
    step_in_epoch: int
    step: int


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
        self.units = TrainingUnits(directory)
        self.save_freq = save_freq
        self.skip_data = skip_data
        self.fingerprint = fingerprint
        self._found = None

    def position(self):
        """Returns where the training goes on, a `Position`; all 0 if it begins."""
        self._found = self.units.newest()
        return _position(self._found)

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
        self._readers = {}
        self._passed = None
        unit, self._found = self._found or self.units.newest(), None
        self._first_weights = self._weights_at_begin(unit)
        self._fingerprint = json.loads(
            json.dumps(
                {
                    **model_fingerprint(model),
                    "steps per epoch": self.params.get("steps"),
                    "fingerprint": self.fingerprint,
                }
            )
        )
        self._resumed = unit
        self._at = _position(unit)
        self._check_workers_agree()
        self._saved_step = self._at.step
        self._stopped = unit is not None and unit.state["stopped"]
        model._initial_epoch = None
        self._first_rate = constant_learning_rate(model.optimizer)
        if unit is not None:
            self._go_on(unit)
        _IN_TRAINING.add(model.optimizer)

    def _go_on(self, unit):
        model = self.model
        self._check_same(unit)
        self._first_rate = unit.state["learning rates"]["first"]
        self._restore(unit)
        # Keras resets them when an epoch begins: what is left is what outlives that.
        self._restore_metrics_that_fit(unit)
        model._initial_epoch = (
            self.params["epochs"] if self._stopped else self._at.epoch
        )

    def on_epoch_begin(self, epoch, logs=None):
        unit, self._resumed = self._resumed, None
        self._model._initial_epoch = None  # Not for the next `fit`.
        if unit is None or not unit.state["calls"]:
            self._at = Position(epoch, 0, self._at.step)
            self._calls = 0
            self._generators = backend.read_generators()
            return
        # The other callbacks have begun the epoch a second time.
        self._restore(unit)
        self._restore_metrics_that_fit(unit)
        self._generators = _arrays(unit, "generators of the epoch")
        self._calls = unit.state["calls"]
        self._resumed_inside = unit
        self._passed = PassedBatches(
            self.model,
            self._list,
            self,
            calls=self._calls,
            logs=unit.state["logs"],
            read=self.skip_data,
            first=functools.partial(self._restore_metrics, unit),
        )

    def on_train_batch_end(self, batch, logs=None):
        if self._passed is not None:
            if self._passed.count():
                unit, self._resumed_inside = self._resumed_inside, None
                backend.assign_generators(_arrays(unit, "generators"))
                self._passed = None
            return
        self._calls += 1
        steps = self._model.steps_per_execution
        self._at = Position(
            self._at.epoch, self._at.step_in_epoch + steps, self._at.step + steps
        )
        due = self.save_freq and self._at.step - self._saved_step >= self.save_freq
        # When something stops the training, its epoch ends here.
        if due and not self._model.stop_training:
            self._save(logs=logs, calls=self._calls)

    def on_epoch_end(self, epoch, logs=None):
        if self._passed is not None:
            self._passed.end_of_epoch()
        self._at = Position(epoch + 1, 0, self._at.step)
        self._stopped = bool(self._model.stop_training)
        self._save()

    def on_train_end(self, logs=None):
        # The last backup is from before the other callbacks' `on_train_end`, which may
        # change the weights: when a finished `fit` is run again, they do so again.
        self.units.wait()
        self._model._initial_epoch = None
        _IN_TRAINING.discard(self._model.optimizer)

    def _save(self, calls=0, logs=None):
        model = self.model  # On JAX this brings the variables up to date.
        arrays = {}
        for group, variables in _groups(model).items():
            values = backend.read(model, variables)
            self._check_finite(variables, values)
            arrays |= _numbered(group, values)
        for group, variables in _replicated_groups(model).items():
            if group not in self._readers:
                self._readers[group] = backend.replica_reader(model, variables)
            values = self._readers[group]()
            if group != "metrics":
                self._check_finite(variables, values)
            arrays |= _numbered(group, values)
        arrays |= _numbered("generators", backend.read_generators())
        if calls:
            arrays |= _numbered("generators of the epoch", self._generators)
        self._saved_step = self._at.step
        if not backend.is_chief(model):
            return
        callbacks = self._states.get(arrays)
        self.units.write(
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
            if _not_finite(variable, value):
                raise TrainingDivergedError(
                    f"The variable {variable.path!r} is not finite after "
                    f"{self._at.step} steps, and is not saved: the backup before is "
                    f"kept. {_advice(variable)}",
                    culprits=[f"the variable {variable.path!r}"],
                    epoch=self._at.epoch + bool(self._at.step_in_epoch),
                    step=self._calls * self._model.steps_per_execution,
                )

    def _check_workers_agree(self):
        steps = backend.numbers_of_workers(self._model, self._at.step)
        if len(set(steps)) > 1:
            raise ValueError(
                "The workers of this training found different backups, and would train "
                f"different models. Received: backups of the steps {steps}. The folder "
                f"{self.units.directory} must be one that all of them see."
            )

    def _check_same(self, unit):
        before, now = unit.state["fingerprint"], self._fingerprint
        if not self._is_rate_of(unit):
            first = unit.state["learning rates"]["first"]
            before = {**before, "learning rate": first}
            now = {**now, "learning rate": self._first_rate}
        found = differences(before, now)
        if found:
            other_teacher = before[TEACHER] != now[TEACHER]
            raise OtherTrainingError(unit.path, found, other_teacher)

    def _weights_at_begin(self, unit):
        """Returns what the losses weighed when the training began.

        Like learning rates, they may be what this training has made of them.
        """
        now = numbers_of(self.model)
        known = unit and unit.state.get("loss weights")
        if known and (now == known["last"] or self.model.optimizer in _IN_TRAINING):
            assign_numbers(self.model, known["first"])
            return known["first"]
        return now

    def _is_rate_of(self, unit):
        """Whether the learning rate is one that this training gave the optimizer.

        A script that is run again gives the one that the training began with. The same
        model, passed to `fit` again, has what callbacks made of it: that of the backup,
        or a later one if it was interrupted after the backup.
        """
        is_of_training = self._first_rate in unit.state["learning rates"].values()
        return is_of_training or self.model.optimizer in _IN_TRAINING

    def _restore(self, unit):
        model = self.model
        if "random/0" in unit.arrays:
            global_seed_generator()  # Creates it.
        for group, variables in _groups(model).items():
            for index, variable in enumerate(variables):
                name = f"{group}/{index}"
                # Keras may have a global generator now that it did not need then.
                if group != "random" or name in unit.arrays:
                    variable.assign(unit.arrays[name])
        self._restore_replicated(unit, "state", _replicated_groups(model)["state"])
        # The order of the epoch's data may be drawn from them when it begins.
        of_epoch = _arrays(unit, "generators of the epoch")
        backend.assign_generators(of_epoch or _arrays(unit, "generators"))
        self._states.set(unit.state["callbacks"], unit.arrays)
        if "loss weights" in unit.state:
            assign_numbers(model, unit.state["loss weights"]["last"])

    def _restore_metrics_that_fit(self, unit):
        """Restores the metrics, unless Keras is yet to build them."""
        if _metrics_fit(self.model, unit):
            self._restore_replicated(unit, "metrics", self.model.metrics_variables)

    def _restore_metrics(self, unit, batch):
        """Restores metrics that Keras would build when it traces the first step."""
        model = self._model
        if _metrics_fit(model, unit):
            return
        if batch is not None:
            model._symbolic_build(data_batch=batch)
        if not _metrics_fit(model, unit):
            raise ValueError(
                "The metrics of the model are not those of the interrupted training. "
                f"Received: {len(model.metrics_variables)} variables of metrics, "
                f"expected: {_num_metrics(unit)}. With skip_data=False they must be "
                "built before `fit`, as a Distiller does: evaluate a batch first."
            )
        self._restore_replicated(unit, "metrics", model.metrics_variables)

    def _restore_replicated(self, unit, group, variables):
        values = [unit.arrays[f"{group}/{i}"] for i in range(len(variables))]
        backend.assign_replicas(
            self._model, variables, values, summed=group == "metrics"
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


def _position(unit):
    if unit is None:
        return Position(0, 0, 0)
    return Position(**{name: unit.state[name] for name in Position._fields})


def _check_built(model):
    if not model.built:
        raise ValueError(
            "A model must be built before its training can be resumed: call it on a "
            f"batch, or give it an Input. Received: the unbuilt model {model.name!r}"
        )
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)


def _groups(model):
    """Returns the variables that are the same on every replica, by name of group."""
    seeds = global_state.get_global_attribute(GLOBAL_SEED_GENERATOR)
    return {
        "trainable": model.trainable_variables,
        "optimizer": model.optimizer.variables,
        "random": [] if seeds is None else [seeds.state],
    }


def _replicated_groups(model):
    """Returns those that every replica may have its own value of."""
    trainable = {id(variable) for variable in model.trainable_variables}
    return {
        "state": [v for v in model.variables if id(v) not in trainable],
        # Between epochs too: some go on, such as the count of steps that are skipped
        # in a row.
        "metrics": model.metrics_variables,
    }


def _numbered(group, values):
    return {f"{group}/{index}": value for index, value in enumerate(values)}


def _arrays(unit, group):
    """Returns the arrays of a unit that `_numbered` named."""
    numbers = itertools.takewhile(
        lambda index: f"{group}/{index}" in unit.arrays, itertools.count()
    )
    return [unit.arrays[f"{group}/{index}"] for index in numbers]


def _not_finite(variable, value):
    is_float = keras.backend.is_float_dtype(variable.dtype)
    return is_float and not np.all(np.isfinite(value))


def _advice(variable):
    if variable.path.endswith("dynamic_scale"):
        return (
            "The loss scale has grown without end: no gradient ever overflows. Look "
            "whether gradients are zero, raise `dynamic_growth_steps` of the "
            "LossScaleOptimizer, or train in mixed_bfloat16 or float32."
        )
    return (
        "The training has diverged: try a smaller learning rate, or clip the gradients."
    )


def _num_metrics(unit):
    return sum(name.startswith("metrics/") for name in unit.arrays)


def _metrics_fit(model, unit):
    return len(model.metrics_variables) == _num_metrics(unit)
