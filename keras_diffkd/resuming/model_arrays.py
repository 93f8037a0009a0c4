"""Reads and restores the variables of a model, its optimizer and its metrics."""

import itertools

import keras
import numpy as np

from keras_diffkd.keras_private.scopes import global_seed, make_global_seed
from keras_diffkd.keras_private.trainer import build_metrics
from keras_diffkd.training import backend
from keras_diffkd.training.state import teacher_seeds


class ModelArrays:
    """Reads and restores the variables of a model in training.

    Args:
        model: A built and compiled `keras.Model`.
    """

    def __init__(self, model):
        self._model = model
        self._readers = {}

    def read(self, check):
        """Returns a dict from the names in a snapshot to NumPy arrays.

        Args:
            check: Callable that receives variables and their values and raises if they
                must not be saved. It is not called for metrics.
        """
        arrays = {}
        for group, variables in _groups(self._model).items():
            values = backend.read(self._model, variables)
            check(variables, values)
            arrays |= numbered(group, values)
        for group, variables in _replicated_groups(self._model).items():
            if group not in self._readers:
                self._readers[group] = backend.replica_reader(self._model, variables)
            values = self._readers[group]()
            if group != "metrics":
                check(variables, values)
            arrays |= numbered(group, values)
        return arrays

    def restore(self, snapshot):
        """Restores all variables except those of metrics."""
        if "random/0" in snapshot.arrays:
            make_global_seed()
        for group, variables in _groups(self._model).items():
            for index, variable in enumerate(variables):
                name = f"{group}/{index}"
                # Keras may now have a global generator that the snapshot lacks, and
                # older snapshots lack the teacher's.
                may_lack = group in ("random", "teacher_seeds")
                if not may_lack or name in snapshot.arrays:
                    variable.assign(snapshot.arrays[name])
        variables = _replicated_groups(self._model)["state"]
        self._restore_replicated(snapshot, "state", variables)

    def restore_built_metrics(self, snapshot):
        """Restores the metrics if Keras has built them."""
        if self._metrics_fit(snapshot):
            variables = self._model.metrics_variables
            self._restore_replicated(snapshot, "metrics", variables)

    def restore_unbuilt_metrics(self, snapshot, batch):
        """Restores metrics that Keras would build when it traces the first step.

        Args:
            snapshot: `Snapshot`.
            batch: A batch of the data, or `None` if none was read.
        """
        model = self._model
        if self._metrics_fit(snapshot):
            return
        if batch is not None:
            build_metrics(model, batch)
        if not self._metrics_fit(snapshot):
            raise ValueError(
                "The metrics of the model differ from those of the interrupted "
                f"training. Expected: {_num_metrics(snapshot)} variables of metrics. "
                f"Received: {len(model.metrics_variables)}. Compile the model with the "
                "same metrics. With skip_data=False, also call `evaluate` on one batch "
                "before `fit`, unless the model is a Distiller."
            )
        self._restore_replicated(snapshot, "metrics", model.metrics_variables)

    def _metrics_fit(self, snapshot):
        return len(self._model.metrics_variables) == _num_metrics(snapshot)

    def _restore_replicated(self, snapshot, group, variables):
        values = [snapshot.arrays[f"{group}/{i}"] for i in range(len(variables))]
        backend.assign_replicas(
            self._model, variables, values, summed=group == "metrics"
        )


def numbered(group, values):
    """Returns a dict from `group/0`, `group/1` and so on to the values."""
    return {f"{group}/{index}": value for index, value in enumerate(values)}


def arrays_of(snapshot, group):
    """Returns the arrays in a snapshot that `numbered` named."""
    numbers = itertools.takewhile(
        lambda index: f"{group}/{index}" in snapshot.arrays, itertools.count()
    )
    return [snapshot.arrays[f"{group}/{index}"] for index in numbers]


def is_finite(variable, value):
    """Returns whether all floats in a variable are finite."""
    is_float = keras.backend.is_float_dtype(variable.dtype)
    return not is_float or bool(np.all(np.isfinite(value)))


def _groups(model):
    """Returns the variables that are equal on all replicas, by the name of a group."""
    seeds = global_seed()
    return {
        "trainable": model.trainable_variables,
        "optimizer": model.optimizer.variables,
        "random": [] if seeds is None else [seeds.state],
        "teacher_seeds": teacher_seeds(model),
    }


def _replicated_groups(model):
    """Returns the variables whose values may differ between replicas, by group."""
    trainable = {id(variable) for variable in model.trainable_variables}
    return {
        "state": [v for v in model.variables if id(v) not in trainable],
        # Some metrics continue in the next epoch, such as the number of steps that were
        # skipped in a row.
        "metrics": model.metrics_variables,
    }


def _num_metrics(snapshot):
    return sum(name.startswith("metrics/") for name in snapshot.arrays)
