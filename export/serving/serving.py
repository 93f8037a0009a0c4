"""The one function that every artifact computes."""

import copy

import keras
import numpy as np
import tensorflow as tf

from .detection import decoded, is_detector
from .float32 import to_float32
from .graph import inline_functions, training_operations
from .names import name_tensors
from .pixels import Preprocessing
from .predictions import compiled_losses


class Serving:
    """The student in float32 with named inputs and outputs, always in inference mode.

    A student with one input and one output serves `image` and `logits`; any other
    keeps its own names (the keys of dictionaries, the names of Keras inputs, the
    names of output layers), but for those that Keras numbers, see `name_tensors`. A
    RetinaNet of KerasHub is served as `decoded` gives it.
    Every format is written from this object; with `normalization`, it takes raw pixels
    and normalizes them itself.

    Args:
        student: built `keras.Model`: functional, sequential, or subclassed and
            called with one argument. Rebuilt in float32 if it is in half precision.
        nms: dict or None, for `decoded`.
        normalization: dict or None. What is to be done to uint8 pixels, see
            `Preprocessing`. None: the input is what the student takes.
        batch_size: int, or None for any. What artifacts are traced for.

    Attributes:
        network: the student in float32.
        is_rebuilt: bool. Whether that is another model than the one given.
        student: what is served: `network`, or that decoded.
        preprocessing: `Preprocessing` or None.
        inputs: list of `tf.TensorSpec` with batch size None, one per input tensor.
            Other axes may be of any size as well; see `with_sizes`.
        outputs: the same for the outputs, in the student's own order.
        losses: what the student was compiled with, one for each output; None where
            unknown.
        trace: `tf.ConcreteFunction` of all that for the batch size, whose flat inputs
            and outputs are in the order of the two lists.
        batch_size: int, or None for any.

    Raises:
        ValueError: if `student` is not a Keras model, is not built, has weights
            that are not finite, or cannot be rebuilt in float32; or if `nms` is for no
            detector.

    Example:

    ```python
    serving = Serving(keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]))
    [spec.name for spec in serving.outputs]  # ["logits"]
    serving(np.zeros((3, 4), "float32"))["logits"].shape  # (3, 2)
    ```
    """

    def __init__(self, student, nms=None, normalization=None, batch_size=None):
        _check_student(student)
        self.batch_size = batch_size
        self.preprocessing = normalization and Preprocessing.of(normalization)
        given = student
        self.network = self.student = student = to_float32(student)
        self.is_rebuilt = student is not given
        if nms is not None or is_detector(student):
            self.student = student = decoded(student, nms)
        self.structure = _input_structure(student)
        tensors = keras.tree.flatten(self.structure)
        if self.preprocessing:
            self.preprocessing.check_image(tensors)
            tensors = [keras.KerasTensor(tensors[0].shape, "uint8")]
        num_weights = len(student.weights)
        self.trace_for(tensors)
        if len(student.weights) != num_weights:
            raise ValueError(
                f"The student '{student.name}' has layers that were not built: "
                f"{len(student.weights) - num_weights} of its weights were only made "
                "when it was traced and are not trained. Call the model once on real "
                "data, then train or load its weights."
            )
        _check_inference(self.trace, student)
        self.losses = compiled_losses(given, len(self.outputs))

    def trace_for(self, tensors):
        """Traces the student for these inputs, whose shapes may be unknown.

        Args:
            tensors: list of `keras.KerasTensor`, one per input, in order.
        """
        self.trace = self._trace(tensors)
        outputs = self.trace.structured_outputs
        flat_outputs = keras.tree.flatten(outputs)
        names = name_tensors(self.student, self.structure, outputs)
        _check_batch_axis(flat_outputs, names[len(tensors) :], self.batch_size)
        self.inputs = _specs(tensors, names[: len(tensors)])
        self.outputs = _specs(flat_outputs, names[len(tensors) :])

    def take_names(self, inputs, outputs):
        """Takes the names of inputs and outputs from an older export.

        Args:
            inputs: list of `TensorInfo`.
            outputs: likewise.
        """
        for specs, given in ((self.inputs, inputs), (self.outputs, outputs)):
            # Others keep their names, which say what is wrong with them.
            if _fit(specs, given):
                specs[:] = [
                    tf.TensorSpec(spec.shape, spec.dtype, name=info.name)
                    for spec, info in zip(specs, given, strict=True)
                ]

    def computing(self, student):
        """Returns a `Serving` of another student with these inputs and outputs.

        Args:
            student: `keras.Model`.
        """
        other = copy.copy(self)
        other.student = student
        other.trace = other._trace(
            [keras.KerasTensor(spec.shape, spec.dtype.name) for spec in self.inputs]
        )
        return other

    def __call__(self, *tensors):
        """Returns the outputs by name for the input tensors, given in order."""
        return self.name_outputs(self._call(*tensors))

    def name_outputs(self, outputs):
        """Returns the student's outputs, in its own structure, as a dict by name."""
        names = [spec.name for spec in self.outputs]
        return dict(zip(names, keras.tree.flatten(outputs), strict=True))

    def student_inputs(self, arrays):
        """Arranges arrays by input name as the Keras student takes them.

        Pixels are normalized in NumPy, on a way of their own to what artifacts do.
        """
        arrays = [arrays[spec.name] for spec in self.inputs]
        if self.preprocessing:
            arrays = [self.preprocessing.normalize(array) for array in arrays]
        return keras.tree.pack_sequence_as(self.structure, arrays)

    def _call(self, *tensors):
        if self.preprocessing:
            tensors = [self.preprocessing(tensor) for tensor in tensors]
        inputs = keras.tree.pack_sequence_as(self.structure, tensors)
        return self.student(inputs, training=False)

    def _trace(self, tensors):
        specs = [
            tf.TensorSpec([self.batch_size, *tensor.shape[1:]], tensor.dtype)
            for tensor in tensors
        ]
        try:
            with inline_functions():
                return tf.function(self._call, autograph=False).get_concrete_function(
                    *specs
                )
        except Exception as error:  # Whatever the student's own `call` raises.
            raise ValueError(
                f"The student '{self.student.name}' cannot be called with the one "
                f"argument that it was built for, {self.structure}. "
                f"Received: {type(error).__name__}: {error}"
            ) from error

    def signature(self, batch_size=None, dtype=None):
        """Returns the `tf.TensorSpec`s of the inputs for a batch size.

        Args:
            batch_size: int, or None for its own.
            dtype: None, or another one for pixels: `"float32"` for a quantizer.
        """
        batch_size = batch_size or self.batch_size
        dtype = dtype if self.preprocessing else None
        return [
            tf.TensorSpec(
                [batch_size, *spec.shape[1:]], dtype or spec.dtype, name=spec.name
            )
            for spec in self.inputs
        ]


def _check_student(student):
    if not isinstance(student, keras.Model):
        raise ValueError(
            "Expected a `keras.Model` as the student; `Distiller.strip()` and "
            "`keras.models.load_model` return one. "
            f"Received: {student!r} of type {type(student).__name__}"
        )
    if not student.built:
        raise ValueError(
            f"The student '{student.name}' is not built, so its input is unknown. "
            "Start it with `keras.Input`, or call it once on real data."
        )
    unfinished = [
        weight.path
        for weight in student.weights
        if not np.all(np.isfinite(keras.ops.convert_to_numpy(weight)))
    ]
    if unfinished:
        raise ValueError(
            f"The student '{student.name}' has weights that are not finite; training "
            f"has diverged. Received NaN or infinity in: {', '.join(unfinished)}"
        )


def _check_inference(trace, student):
    found = training_operations(trace.graph.as_graph_def())
    if found:
        raise ValueError(
            f"The student '{student.name}' has layers in training mode even when it is "
            "called with training=False: dropout or other noise, or batch "
            "normalization that updates its statistics. Let its layers pass `training` "
            f"on. Received: the operations {', '.join(found)}"
        )


def _input_structure(student):
    """Returns the KerasTensors that the student is called with, in its structure."""
    if isinstance(student, keras.Sequential):
        return _with_any_batch(student.inputs[0])
    if getattr(student, "inputs", None):
        return keras.tree.map_structure(_with_any_batch, student.input)
    config = student.get_build_config() or {}
    if config.get("input_shape") is None:
        raise ValueError(
            f"The input of the student '{student.name}' is unknown, or its `call` "
            "takes several arguments. Export a functional or sequential model, or a "
            "subclassed one that was called with one argument (a tensor, or a "
            f"dictionary or list of tensors). Received: build config {config}"
        )
    return keras.tree.map_shape_structure(
        lambda shape: _with_any_batch(keras.KerasTensor(shape, student.input_dtype)),
        _plain(config["input_shape"]),
    )


def _plain(structure):
    """Returns plain dictionaries and lists for those in which Keras tracks changes."""
    if isinstance(structure, dict):
        return {key: _plain(value) for key, value in structure.items()}
    if isinstance(structure, list):
        return [_plain(value) for value in structure]
    if isinstance(structure, tuple):
        return tuple(_plain(value) for value in structure)
    return structure


def _with_any_batch(tensor):
    shape = tuple(tensor.shape)
    if len(shape) == 0:
        raise ValueError(
            "The first axis of every input must be that of the examples. "
            f"Received: input '{tensor.name}' of shape {shape}"
        )
    if tensor.dtype == "string":
        raise ValueError(
            "ONNX and TFLite files have no text preprocessing. Export the part of the "
            "student behind its `TextVectorization` or `StringLookup`, which takes "
            f"integers. Received: input '{tensor.name}' of strings"
        )
    return keras.KerasTensor((None, *shape[1:]), tensor.dtype, name=tensor.name)


def _fit(specs, given):
    return [(list(spec.shape[1:]), spec.dtype.name) for spec in specs] == [
        (info.shape[1:], info.dtype) for info in given
    ]


def _check_batch_axis(outputs, names, batch_size):
    for output, name in zip(outputs, names, strict=True):
        shape = output.shape.as_list() if output.shape.rank else []
        if not shape or shape[0] not in (None, batch_size):
            raise ValueError(
                "The first axis of every output must be that of the examples, because "
                "they are compared one by one. Leave this output out of the student "
                "with `keras.Model(student.input, ...)`. Received: output "
                f"'{name}' of shape {tuple(shape)}"
            )


def _specs(tensors, names):
    return [
        tf.TensorSpec([None, *tensor.shape[1:]], tensor.dtype, name=name)
        for tensor, name in zip(tensors, names, strict=True)
    ]
