"""Records which layers and operations of a model run, and what they pass on."""

import dataclasses

import keras

from keras_diffkd.features.hooks import CallShadow
from keras_diffkd.features.specs import input_spec
from keras_diffkd.keras_private.layers import computes_its_graph, inner_layers
from keras_diffkd.keras_private.patches import model_inputs_seen

# Layers that run their inner layers in loops.
_LOOPS = (keras.layers.RNN, keras.layers.TimeDistributed, keras.layers.Bidirectional)


@dataclasses.dataclass(frozen=True)
class Call:
    """Describes one call of a layer or operation.

    Attributes:
        operation: `keras.Layer` or `keras.Operation`.
        path: Its path in the model.
        inputs: Tuple of the numbers of the tensors that it gets.
        outputs: Tuple of the numbers of the tensors that it returns.
        shapes: Tuple of the shapes of its inputs.
    """

    operation: object
    path: str
    inputs: tuple
    outputs: tuple
    shapes: tuple


@dataclasses.dataclass(frozen=True)
class Recording:
    """Describes a forward pass of a model.

    Attributes:
        calls: List of `Call`s in the order in which they run.
        inputs: Dict from the numbers of the model's inputs to `(name, dtype)`.
        outputs: Tuple of the numbers of the model's outputs.
        opaque: List of the paths of layers that compute more than their inner layers.
    """

    calls: list
    inputs: dict
    outputs: tuple
    opaque: list


def record(model):
    """Returns the `Recording` of a forward pass without data, in inference mode.

    Args:
        model: A built `keras.Model`.

    Raises:
        ValueError: If the shape of its inputs is unknown.
    """
    spec = input_spec(model)
    if spec is None:
        raise ValueError(
            f"The input shape of the student {model.name!r} is unknown, so its "
            "quantization cannot be planned. Call `student.build(input_shape)`, or "
            "define the model with keras.Input."
        )
    paths, opaque = operations_of(model)
    numbers = _Numbers()
    calls, ends = [], []

    def recorded(operation, call):
        def recording_call(*args, **kwargs):
            inputs = tensors_in((args, kwargs))
            outputs = call(*args, **kwargs)
            calls.append(
                Call(
                    operation,
                    paths[id(operation)][1],
                    numbers.of(inputs),
                    numbers.of(tensors_in(outputs)),
                    tuple(tuple(tensor.shape) for tensor in inputs),
                )
            )
            return outputs

        return recording_call

    class RecordedCall(keras.layers.Layer):
        def call(self, inputs):
            # Some backends run this again with other sizes.
            calls.clear()
            numbers.clear()
            shadow = CallShadow(recorded).over(each for each, _ in paths.values())
            with shadow, model_inputs_seen(numbers.equate):
                outputs = model(inputs, training=False)
            ends[:] = numbers.of(tensors_in(inputs)), numbers.of(tensors_in(outputs))
            return outputs

    RecordedCall(dtype=model.dtype_policy).compute_output_spec(spec)
    names = zip(_input_names(model, spec), keras.tree.flatten(spec), strict=True)
    inputs = [(name, tensor.dtype) for name, tensor in names]
    return Recording(
        calls, dict(zip(ends[0], inputs, strict=True)), ends[1], list(opaque)
    )


def operations_of(model):
    """Returns the layers and operations that compute a model.

    Returns:
        `(operations, opaque)`: a dict from ids to `(operation, path)`, and a list of
        the paths of layers that compute more than their inner layers do.
    """
    operations, opaque = {}, []

    def visit(layer, prefix):
        if computes_its_graph(layer):
            # A sequential model has layers only.
            for operation in getattr(layer, "operations", ()):
                if not isinstance(operation, keras.layers.Layer):
                    path = prefix + operation.name
                    operations.setdefault(id(operation), (operation, path))
        for inner in inner_layers(layer, recursive=False):
            path = prefix + inner.name
            if isinstance(inner, keras.layers.InputLayer):
                continue
            if isinstance(inner, _LOOPS):
                opaque.append(path)
            elif inner_layers(inner, recursive=False):
                if not computes_its_graph(inner):
                    opaque.append(path)
                visit(inner, f"{path}/")
            else:
                operations.setdefault(id(inner), (inner, path))

    visit(model, "")
    return operations, opaque


def tensors_in(structure):
    """Returns a list of the tensors in nested arguments or results."""
    return [leaf for leaf in keras.tree.flatten(structure) if is_tensor(leaf)]


def is_tensor(value):
    """Returns whether a value is a tensor and not a variable."""
    return keras.ops.is_tensor(value) and not isinstance(value, keras.Variable)


def _input_names(model, spec):
    leaves = keras.tree.flatten(spec)
    if getattr(model, "inputs", None):
        return [leaf.name for leaf in leaves]
    # A subclassed model has inputs without names.
    if len(leaves) == 1:
        return ["input"]
    return [f"input_{number}" for number in range(len(leaves))]


class _Numbers:
    """Numbers tensors by identity, and keeps them so that identities stay unique."""

    def __init__(self):
        self._numbers = {}

    def clear(self):
        """Forgets all tensors."""
        self._numbers.clear()

    def of(self, tensors):
        """Returns a tuple with the number of each tensor."""
        return tuple(map(self._of, tensors))

    def _of(self, tensor):
        entry = (tensor, len(self._numbers))
        return self._numbers.setdefault(id(tensor), entry)[1]

    def equate(self, given, taken):
        """Gives the tensors that a model takes the numbers of those it was given.

        PyTorch copies tensors without data when a model converts them.
        """
        given, taken = tensors_in(given), tensors_in(taken)
        for one, other in zip(given, taken, strict=False):
            if len(given) == len(taken) and tuple(one.shape) == tuple(other.shape):
                self._numbers.setdefault(id(other), (other, self._of(one)))
