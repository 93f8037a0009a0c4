"""Decides where a student is quantized: which tensors get a range, which norms fold."""

import keras

from keras_diffkd.keras_private.layers import all_layers
from keras_diffkd.quantization.kinds import (
    ACTIVATIONS,
    FIXED_RANGES,
    FUSING,
    KERNELS,
    RECTIFIERS,
    Kind,
    activation_of,
    is_rectifier,
    kind_of,
)
from keras_diffkd.quantization.plan import PlannedCall, QuantizationPlan, Site
from keras_diffkd.quantization.recording import record
from keras_diffkd.quantization.skipping import skipped_paths
from keras_diffkd.quantization.weights import reduced_axes

# int8 kernels without a ReLU of their own.
_ALONE = keras.layers.Conv2DTranspose
_SHARING = Kind.SAME, Kind.CONCATENATION, Kind.EXTREMUM


def quantization_plan(student, skip=()):
    """Returns the `QuantizationPlan` of a student.

    Args:
        student: A built `keras.Model`.
        skip: Iterable of names or paths of layers that stay float.

    Raises:
        ValueError: If the student is quantized already, its inputs are unknown, a layer
            to skip does not exist, or nothing of the student can be quantized.
    """
    _check_float(student)
    recording = record(student)
    planner = _Planner(recording, skipped_paths(student, recording, skip))
    for call in recording.calls:
        planner.plan(call)
    plan = planner.finished()
    if not any(call.kernels for calls in plan.calls.values() for call in calls):
        raise ValueError(
            f"Nothing of the student {student.name!r} can be quantized: it has no "
            "convolution and no dense layer that is not in `skip`. Received: "
            f"skip={list(skip)}. Train it without `quantization`."
        )
    return plan


class _Planner:
    """Follows the calls of a recording, and gives sites to the tensors.

    Args:
        recording: `Recording`.
        skipped: Set of the paths of layers that stay float.
    """

    def __init__(self, recording, skipped):
        self._skipped = skipped
        self._outputs = set(recording.outputs)
        self._inputs = {
            number: name
            for number, (name, dtype) in recording.inputs.items()
            if keras.backend.is_float_dtype(dtype)
        }
        self._consumers, self._totals = {}, {}
        for call in recording.calls:
            key = id(call.operation)
            self._totals[key] = self._totals.get(key, 0) + 1
            for tensor in set() if _is_identity(call) else set(call.inputs):
                self._consumers.setdefault(tensor, []).append(call)
        self._read = self._outputs.union(self._consumers)
        self._planned = {}
        self._operations = {}
        # From the numbers of tensors to their sites. A tensor without one is float, or
        # in `_passed`: then the next call computes the tensor with the site.
        self._sites, self._passed = {}, set()
        # Float tensors that calls quantize before they read them.
        self._entered = set()
        # From tensors to the layers that the batch normalization after them folds into.
        self._folded = {}
        self._all_sites, self._shared = [], {}
        self._float = list(recording.opaque)

    def plan(self, call):
        """Plans one call."""
        operation = call.operation
        self._operations[id(operation)] = operation
        calls = self._planned.setdefault(id(operation), [])
        planned = PlannedCall(operation, call.path)
        calls.append(planned)
        if _is_identity(call):
            return
        planned.is_read_outside = self._read.isdisjoint(call.outputs)
        kind = self._kind(call)
        if kind is None:
            self._float.append(call.path)
            planned.is_float = True
            return
        name = call.path
        if self._totals[id(operation)] > 1:
            name += f":{len(calls) - 1}"
        if kind in (Kind.RECTIFIER, *_SHARING) and not any(
            tensor in self._sites or tensor in self._passed or tensor in self._inputs
            for tensor in call.inputs
        ):
            return  # Float values stay float.
        self._enter(planned, call, name)
        if kind in _SHARING:
            self._share(call, name)
            if kind is Kind.EXTREMUM:
                self._repeat(planned, self._site(call.outputs[0]), call)
            return
        if kind is Kind.RECTIFIER and call.inputs[0] in self._sites:
            self._repeat(planned, self._site(call.inputs[0]), call)
            return
        planned.input = self._sites.get(call.inputs[0])
        if kind is Kind.KERNEL:
            self._plan_kernels(planned, call, name)
        planned.is_folded = call.inputs[0] in self._folded
        self._leave(planned, call, name, kind)

    def _kind(self, call):
        """Returns the `Kind` of a call, or `None` if it stays float."""
        if call.path in self._skipped or not call.inputs:
            return None
        return kind_of(call.operation)

    def _follower(self, call):
        """Returns the only call that reads the result of a call, or `None`."""
        if len(call.outputs) != 1 or call.outputs[0] in self._outputs:
            return None
        consumers = self._consumers.get(call.outputs[0], [])
        return consumers[0] if len(consumers) == 1 else None

    def _enter(self, planned, call, name):
        """Gives sites to the float inputs of a call."""
        for position, tensor in enumerate(call.inputs):
            if tensor in self._sites or tensor in self._passed:
                continue
            entry = f"{name}/input" + (f"_{position}" if len(call.inputs) > 1 else "")
            self._sites[tensor] = self._new_site(self._inputs.get(tensor, entry))
            self._entered.add(tensor)
        for position, tensor in enumerate(call.inputs):
            if tensor in self._entered:
                planned.entries[position] = self._sites[tensor]

    def _plan_kernels(self, planned, call, name):
        layer = call.operation
        planned.kernels = {
            kernel: reduced_axes(layer, kernel) for kernel in KERNELS[type(layer)]
        }
        if len(planned.kernels) == 2:
            planned.middle = self._new_site(f"{name}/depthwise")
        follower = self._follower(call)
        if follower is not None and self._can_fold(call, follower):
            planned.normalization = follower.operation
            self._folded[call.outputs[0]] = layer
        activation = activation_of(layer)
        if activation not in RECTIFIERS:
            planned.before_activation = self._new_site(f"{name}/before_activation")
        elif isinstance(layer, _ALONE) and activation != "linear":
            planned.before_activation = self._new_site(name, is_positive=True)

    def _can_fold(self, call, follower):
        """Returns whether a batch normalization scales the output channels of a call.

        Layers that run several times are not folded.
        """
        layer, normalization = call.operation, follower.operation
        if (
            self._kind(follower) is not Kind.NORMALIZATION
            or activation_of(layer) != "linear"
            or isinstance(layer, keras.layers.EinsumDense)
            or self._totals[id(layer)] > 1
            or self._totals[id(normalization)] > 1
        ):
            return False
        rank = len(follower.shapes[0])
        is_first = getattr(layer, "data_format", None) == "channels_first"
        return normalization.axis % rank == (1 if is_first else rank - 1)

    def _leave(self, planned, call, name, kind):
        """Gives a site to the result of a call, unless the next call has it."""
        operation, follower = call.operation, self._follower(call)
        activation = activation_of(operation)
        is_fused = follower is not None and self._kind(follower) is Kind.RECTIFIER
        is_linear = activation not in ACTIVATIONS and not is_rectifier(operation)
        kernel = self._folded.get(call.inputs[0], operation)
        is_fusing = type(operation).__name__ in FUSING or (
            kind in (Kind.KERNEL, Kind.NORMALIZATION) and not isinstance(kernel, _ALONE)
        )
        simulated = (*ACTIVATIONS, *RECTIFIERS)
        if planned.before_activation is not None and activation in RECTIFIERS:
            self._repeat(planned, planned.before_activation, call)
        elif planned.before_activation is not None and activation not in simulated:
            self._float.append(f"{planned.path}/{activation}")
        elif planned.normalization is not None or (
            is_fused and is_linear and is_fusing
        ):
            self._passed.add(call.outputs[0])
        else:
            is_cut = is_fused and is_linear and is_rectifier(follower.operation)
            site = self._new_site(
                name, FIXED_RANGES.get(activation), is_cut or is_rectifier(operation)
            )
            planned.output = self._sites[call.outputs[0]] = site

    def _repeat(self, planned, site, call):
        """Gives the site of an input to the result, which then keeps its values.

        A scale of its own would round values anew that are rounded already. Many would
        lie in the middle of two, where runtimes differ.
        """
        site.count += 1
        planned.output = self._sites[call.outputs[0]] = site

    def _new_site(self, name, fixed=None, is_positive=False):
        self._all_sites.append(Site(name, fixed=fixed, is_positive=is_positive))
        return self._all_sites[-1]

    def _share(self, call, name):
        """Gives the sites of the inputs of a call, as one, to its results."""
        sites = {id(site): site for site in map(self._site, call.inputs)}
        shared, *others = sites.values()
        if others:
            shared = Site(
                name,
                sum(site.count for site in sites.values()),
                is_positive=all(site.is_positive for site in sites.values()),
            )
            self._all_sites = [s for s in self._all_sites if id(s) not in sites]
            self._all_sites.append(shared)
            for site in sites.values():
                self._shared[id(site)] = site, shared
        for tensor in call.outputs:
            self._sites[tensor] = shared

    def _site(self, tensor):
        return self._final(self._sites[tensor])

    def _final(self, site):
        """Returns the site that a site became part of."""
        while site is not None and id(site) in self._shared:
            site = self._shared[id(site)][1]
        return site

    def finished(self):
        """Returns the plan after all calls."""
        for planned in (call for calls in self._planned.values() for call in calls):
            planned.entries = {
                position: self._final(site)
                for position, site in planned.entries.items()
            }
            planned.output = self._final(planned.output)
            planned.before_activation = self._final(planned.before_activation)
            planned.input = self._final(planned.input)
        return QuantizationPlan(
            self._planned,
            list(self._operations.values()),
            {site.name: site for site in self._all_sites},
            list(dict.fromkeys(self._float)),
        )


def _is_identity(call):
    """Returns whether a call returns its input, as dropout does in inference mode."""
    return bool(call.outputs) and set(call.outputs) <= set(call.inputs)


def _check_float(student):
    for layer in all_layers(student):
        mode = layer.dtype_policy.quantization_mode
        if mode is not None:
            raise ValueError(
                "`quantization` simulates a float student in int8. Received: a student "
                f"whose layer {layer.path!r} is quantized already (dtype policy "
                f"{layer.dtype_policy.name!r}). Load the float student again, without "
                "`student.quantize`."
            )
        if layer.compute_dtype == "float16":
            raise ValueError(
                "`quantization` needs float32 or mixed_bfloat16: float16 overflows. "
                f"Received: the layer {layer.path!r} with the dtype policy "
                f"{layer.dtype_policy.name!r}. Build or load the student with the "
                "dtype policy 'float32'."
            )
