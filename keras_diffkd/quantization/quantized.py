"""Adds quantization-aware training to a distiller."""

import contextlib
import types

import keras

from keras_diffkd.keras_private.scopes import stateless_scope
from keras_diffkd.quantization.aware import QuantizationAware
from keras_diffkd.quantization.planning import quantization_plan
from keras_diffkd.quantization.range_state import RangeState
from keras_diffkd.quantization.ranges import QuantizationRanges
from keras_diffkd.quantization.simulation import simulating
from keras_diffkd.training import backend


class Quantized:
    """Runs the student of a `Distiller` as int8 runtimes do.

    It must precede `keras.Model` in the base classes.
    """

    def begin_quantization(self, quantization, is_copy):
        """Plans where the student is quantized, and creates its ranges.

        Args:
            quantization: `QuantizationAware` or `None`.
            is_copy: Boolean, whether a method trains a changed copy of the student.
        """
        self.quantization = quantization
        if quantization is None:
            return
        _check(quantization, is_copy)
        plan = quantization_plan(self.student, quantization.skip)
        self.range_state = RangeState(
            plan.sites.values(),
            learned=quantization.ranges == "learned",
            momentum=quantization.momentum,
        )
        # Plain objects: Keras tracks lists and dicts in attributes.
        self._simulation = types.SimpleNamespace(
            plan=plan, is_frozen=False, have_begun=False
        )

    def simulated(self, training):
        """Returns a context in which the student runs as the int8 student.

        Without `quantization`, it does nothing.

        Args:
            training: Boolean, whether the student runs in training mode.
        """
        if self.quantization is None:
            return contextlib.nullcontext()
        simulation, state = self._simulation, self.range_state
        if training:
            rounded = state.rounding_in_training(is_moving=not simulation.is_frozen)
            return simulating(simulation.plan, rounded, folds=simulation.is_frozen)
        if stateless_scope() is None and not backend.is_tracing():
            self._check_have_begun()
        return simulating(simulation.plan, state.rounded, step=state.step)

    def make_test_function(self, force=False):
        self._check_have_begun()
        return super().make_test_function(force=force)

    def make_predict_function(self, force=False):
        self._check_have_begun()
        return super().make_predict_function(force=force)

    def quantization_ranges(self):
        """Returns the `QuantizationRanges` of the student after training.

        Raises:
            ValueError: If the distiller has no `quantization`, or was not trained.
        """
        if self.quantization is None:
            raise ValueError(
                "Only a Distiller with `quantization` has ranges. Received: "
                "quantization=None. Create it with "
                "`Distiller(..., quantization=QuantizationAware())`."
            )
        self._check_have_begun()
        return QuantizationRanges(
            self.range_state.values(),
            self._simulation.plan.not_simulated,
            self.quantization.skip,
        )

    def freeze_quantization(self, is_frozen):
        """Freezes ranges and batch normalization, or trains them again.

        The training step is built again if that changes.
        """
        if self._simulation.is_frozen != is_frozen:
            self._simulation.is_frozen = is_frozen
            self.record.make_gradients(self)
            self.make_train_function(force=True)

    def quantization_callbacks(self):
        """Returns a list of the callbacks that `fit` needs for the quantization."""
        return [] if self.quantization is None else [_Freezing(self)]

    def _check_have_begun(self):
        if self.quantization is None:
            return
        simulation = self._simulation
        if simulation.have_begun or self.range_state.have_begun():
            simulation.have_begun = True
            return
        raise ValueError(
            "The ranges of the int8 student are unknown before training: the first "
            "batch sets them. Received: a Distiller with `quantization` that was not "
            "trained. Call `fit` first, or use the float student, `strip()`."
        )


class _Freezing(keras.callbacks.Callback):
    """Freezes ranges and batch normalization after a share of the steps."""

    def __init__(self, distiller):
        super().__init__()
        self._distiller = distiller

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        steps, epochs = self.params.get("steps"), self.params["epochs"]
        in_epoch = batch / steps if steps else 0
        share = (self._epoch + in_epoch) / epochs
        freeze_after = self._distiller.quantization.freeze_after
        self._distiller.freeze_quantization(share >= freeze_after and freeze_after < 1)


def _check(quantization, is_copy):
    if not isinstance(quantization, QuantizationAware):
        raise ValueError(
            "`quantization` must be None or a keras_diffkd.QuantizationAware. "
            f"Received: {quantization!r}"
        )
    if is_copy:
        raise ValueError(
            "`quantization` cannot be combined with a method that changes the "
            "student's layers for training (KDiffusion). Train with the method first, "
            "then create a Distiller of `strip()` with `quantization`."
        )
