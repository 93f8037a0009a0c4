"""Runs a student as int8 runtimes compute it, by intercepting the calls of its layers.

The model does not change: while it runs, its layers read rounded weights, and their
results are rounded.
"""

import contextlib
import threading

import keras

from keras_diffkd.features.hooks import CallShadow
from keras_diffkd.keras_private.scopes import autocasting, stateless_scope
from keras_diffkd.quantization.kinds import KERNELS
from keras_diffkd.quantization.recording import is_tensor
from keras_diffkd.quantization.separable import separable_call
from keras_diffkd.quantization.weights import (
    factor_of_channels,
    for_channels,
    kernel_of,
    rounded_bias,
    rounded_kernel,
    scale_and_offset,
)

_ABOVE_1 = 1 + 2**-23
_runs = threading.local()


@contextlib.contextmanager
def simulating(plan, rounded, folds=True, step=None, weights=None):
    """Returns a context in which a student runs once as int8 runtimes compute it.

    Several threads may enter it at once, because the replicas of a strategy trace the
    same layers in several threads.

    Args:
        plan: `QuantizationPlan` of the student.
        rounded: Callable `(site, tensor) -> tensor` that rounds float32 tensors.
        folds: Boolean, whether batch normalizations are folded into the layers before
            them and use moving statistics, even in training mode.
        step: Optional callable `site -> difference of neighboring values`. With it,
            biases are rounded to multiples of input step and weight step, as the int32
            biases of files are, and normalizations are 1x1 convolutions.
        weights: Optional dict that `weights_of_files` returned: takes these instead of
            computing them.
    """
    outer = getattr(_runs, "active", None)
    _runs.active = _Run(plan, rounded, folds, step, weights)
    with_activations = [
        operation for operation in plan.operations if type(operation) in KERNELS
    ]
    try:
        with _calls.over(plan.operations), _activations.over(with_activations):
            yield
    finally:
        _runs.active = outer


def weights_of_files(plan, step):
    """Returns the rounded weights of a student as NumPy arrays.

    A weight in the middle of two int8 values goes up or down by the order in which a
    graph computes. Graphs that hold these arrays agree.

    Args:
        plan: `QuantizationPlan` of the student.
        step: As for `simulating`.
    """
    run = _Run(plan, None, True, step)
    planned = [call for calls in plan.calls.values() for call in calls if call.kernels]
    return {
        id(call): keras.tree.map_structure(
            lambda x: keras.ops.convert_to_numpy(x) if is_tensor(x) else x,
            run.weights(call),
        )
        for call in planned
    }


class _Run:
    """Holds the state of one simulated forward pass.

    Args: as for `simulating`.

    Attributes:
        before_activation: `Site` of the layer that runs, or `None`.
    """

    def __init__(self, plan, rounded, folds, step, weights=None):
        self._plan = plan
        self._rounded = rounded
        self._folds = folds
        self._step = step
        self._weights = weights or {}
        self._counts = {}
        self._entered = {}
        self.before_activation = None

    def next(self, operation):
        """Returns the `PlannedCall` of the call that begins, or `None`."""
        calls = self._plan.calls.get(id(operation))
        if calls is None:
            return None
        count = self._counts.get(id(operation), 0)
        self._counts[id(operation)] = count + 1
        # A block whose results are not kept runs again for its gradient.
        return calls[count % len(calls)]

    def call(self, planned, original, args, kwargs):
        """Runs a layer or operation, simulated."""
        if planned.entries:
            args, kwargs = self._enter(planned, args, kwargs)
        is_file = self._step is not None
        if planned.is_float and is_file:
            args, kwargs = keras.tree.map_structure(_as_float, (args, kwargs))
        outputs = self._outputs(planned, original, args, kwargs)
        outputs = self.rounded(planned.output, outputs)
        return _as_float(outputs) if planned.is_read_outside and is_file else outputs

    def _outputs(self, planned, original, args, kwargs):
        """Returns the results of a layer or operation before they are rounded."""
        if planned.kernels:
            return self._call_kernels(planned, original, args, kwargs)
        is_norm = isinstance(planned.operation, keras.layers.BatchNormalization)
        if is_norm and self._folds:
            if planned.is_folded:
                return args[0]
            if self._is_convolution(planned, args[0]):
                return self._normalize(planned, args[0])
            kwargs = {**kwargs, "training": False}
        return original(*args, **kwargs)

    def rounded(self, site, tensor):
        """Returns a tensor rounded to the values of a site, in its own dtype."""
        if site is None:
            return tensor
        dtype = tensor.dtype
        return keras.ops.cast(
            self._rounded(site, keras.ops.cast(tensor, "float32")), dtype
        )

    def _is_convolution(self, planned, x):
        """Returns whether a normalization is one of 1x1 in files."""
        is_last = planned.operation.axis in (-1, 3) and len(x.shape) == 4
        return self._step is not None and planned.input is not None and is_last

    def _normalize(self, planned, x):
        """Normalizes in operations that files compute in integers."""
        factor, offset = scale_and_offset(planned.operation)
        kernel = keras.ops.reshape(factor, (1, 1, -1, 1))
        kernel = rounded_kernel(kernel, (0, 1))
        offset = rounded_bias(offset, self._step(planned.input), kernel, (0, 1))
        x = keras.ops.cast(x, kernel.dtype)
        x = keras.ops.depthwise_conv(x, kernel, data_format="channels_last")
        return keras.ops.cast(x + offset, planned.operation.compute_dtype)

    def _enter(self, planned, args, kwargs):
        position = -1

        def enter(leaf):
            nonlocal position
            if not is_tensor(leaf):
                return leaf
            position += 1
            site = planned.entries.get(position)
            if site is None:
                return leaf
            if id(leaf) not in self._entered:
                # The tensor is kept, so that its id stays unique.
                self._entered[id(leaf)] = leaf, self.rounded(site, leaf)
            return self._entered[id(leaf)][1]

        return keras.tree.map_structure(enter, (args, kwargs))

    def _call_kernels(self, planned, original, args, kwargs):
        layer = planned.operation
        kernels, offset = self._weights.get(id(planned)) or self.weights(planned)
        values = [(kernel_of(layer, name), value) for name, value in kernels.items()]
        if layer.bias is not None and offset is not layer.bias:
            values.append((layer.bias, offset))
        self.before_activation = planned.before_activation
        with _reading(values):
            if planned.middle is not None:
                outputs = separable_call(layer, args[0], planned.middle, self.rounded)
            else:
                outputs = original(*args, **kwargs)
        self.before_activation = None
        if offset is not None and layer.bias is None:
            offset = keras.ops.cast(offset, outputs.dtype)
            outputs = outputs + for_channels(layer, offset, len(outputs.shape))
        return outputs

    def weights(self, planned):
        """Returns a dict of the rounded kernels of a layer by name, and its bias."""
        layer, normalization = planned.operation, planned.normalization
        factor, offset = None, layer.bias
        if normalization is not None and self._folds:
            factor, offset = scale_and_offset(normalization, offset)
        kernels = {}
        for number, (name, axes) in enumerate(planned.kernels.items(), start=1):
            with autocasting(None):
                value = keras.ops.cast(kernel_of(layer, name).value, "float32")
            multiplier = None
            if factor is not None and number == len(planned.kernels):
                multiplier = factor_of_channels(layer, name, factor)
            kernels[name] = rounded_kernel(value, axes, multiplier)
        site = planned.middle or planned.input
        if offset is not None and site is not None and self._step is not None:
            offset = rounded_bias(offset, self._step(site), kernels[name], axes)
        return kernels, offset


def _as_float(leaf):
    """Multiplies a float32 tensor by the smallest number above 1.

    TFLite's converter computes averages and products of int8 tensors in int8, also
    where nothing is simulated, and it removes operations that do nothing.
    """
    if is_tensor(leaf) and keras.backend.standardize_dtype(leaf.dtype) == "float32":
        return leaf * _ABOVE_1
    return leaf


class _ReadingScope(keras.StatelessScope):
    """Keeps what is assigned in it, as `updates`."""

    def __init__(self, values):
        super().__init__(values)
        self.updates = []

    def add_update(self, update):
        super().add_update(update)
        self.updates.append(update)


@contextlib.contextmanager
def _reading(values):
    """Returns a context in which variables have other values.

    Args:
        values: List of pairs of variable and tensor.
    """
    scope = stateless_scope()
    if scope is None:
        with _ReadingScope(values) as scope:
            yield
        for variable, value in scope.updates:
            variable.assign(value)
        return
    known, absent = scope.state_mapping, object()
    before = {id(variable): known.get(id(variable), absent) for variable, _ in values}
    known.update({id(variable): value for variable, value in values})
    try:
        yield
    finally:
        for key, value in before.items():
            if value is absent:
                del known[key]
            else:
                known[key] = value


def _simulated_call(operation, original):
    def call(*args, **kwargs):
        run = getattr(_runs, "active", None)
        planned = None if run is None else run.next(operation)
        if planned is None:
            return original(*args, **kwargs)
        return run.call(planned, original, args, kwargs)

    return call


def _rounding_activation(layer, activation):
    def call(x):
        run = getattr(_runs, "active", None)
        if run is not None:
            x = run.rounded(run.before_activation, x)
        return activation(x)

    return call


_calls = CallShadow(_simulated_call)
_activations = CallShadow(_rounding_activation, "activation")
