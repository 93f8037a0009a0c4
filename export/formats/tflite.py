"""LiteRT (TFLite), for phones and microcontrollers."""

import contextlib
import json
import tempfile
from pathlib import Path

import numpy as np

from keras_diffkd.errors import ExportError
from keras_diffkd.keras_private.layers import all_layers

from ..serving.detection import describe_detection, limited_boxes
from ..serving.simulated import with_integer_pixels
from ..serving.tensors import TensorInfo, describe
from .base import PER_CHANNEL, Format, Runner, training_reasons
from .saved_model import write_saved_model
from .tflite_apart import convert_apart
from .tflite_converter import convert
from .tflite_delegates import find_delegation_problem
from .tflite_unrolled import reversed_in_time, unrolled

METADATA = "keras_diffkd"
_TRAINING = {
    "ASSIGN_VARIABLE",
    "MULTINOMIAL",
    "RANDOM_STANDARD_NORMAL",
    "RANDOM_UNIFORM",
}


class TFLite(Format):
    """A TFLite file, for batch size 1 unless the student serves another.

    The batch size is fixed because delegates for phones and accelerators take
    whole graphs only when all shapes are known. Only operations that are built into
    the interpreter are allowed: a model that needs TensorFlow's own ("Flex") does
    not run where TFLite files are meant to run. Metadata is in the buffer
    `keras_diffkd`, as JSON.

    Example:

    ```python
    TFLite("float16").write(Serving(student), "export/student_float16.tflite")
    ```
    """

    names = {
        "float32": "tflite",
        "float16": "tflite_float16",
        "dynamic_int8": "tflite_dynamic",
        "int8": "tflite_int8",
    }
    extension = ".tflite"
    runs_with = ("ai_edge_litert",)
    quantization = {
        "dynamic_int8": {
            # The converter's own threshold.
            "weights": f"{PER_CHANNEL}; float32 where under 1,024 values",
            "activations": "float32",
        },
        "int8": {"weights": PER_CHANNEL, "activations": "int8"},
    }
    needs_sizes = True

    def find_obstacles(self, serving):
        """Finds non-maximum suppression and float64."""
        nms = (describe_detection(serving.student) or {}).get("nms")
        if nms:
            return [
                "The TFLite interpreter has no non-maximum suppression of this kind. "
                "Export 'tflite' without `nms`, into a folder of its own, and suppress "
                "its `boxes` and `scores` in your program; or leave it out. Received: "
                f"the format '{self.name}' with nms={nms}"
            ]
        layers = [
            layer.name
            for layer in all_layers(serving.student)
            if layer.weights and layer.compute_dtype == "float64"
        ]
        if layers:
            return [
                "TFLite does not compute in float64. Build the student with the "
                f"float32 policy and copy its weights, or leave '{self.name}' out of "
                f"`formats`. Received: layers in float64: {', '.join(layers)}"
            ]
        return []

    def write(self, serving, path, *, opset=17, calibration=None):
        """Writes the file with `tf.lite.TFLiteConverter`."""
        # Through a SavedModel: `from_concrete_functions` and `tf.Module` lose the
        # variables of a Keras 3 model and write a file that outputs NaN.
        with tempfile.TemporaryDirectory() as folder:
            model = Path(folder) / "model"
            batch_size = serving.batch_size or 1
            if self.precision != "int8":
                write_saved_model(serving, model, batch_size=batch_size)
                Path(path).write_bytes(convert(model, self.precision))
                return
            if calibration is None:
                serving = with_integer_pixels(serving)
            with _whole_graph(serving):
                # The quantizer makes an input of float pixels one of uint8; a cast
                # from uint8 it would leave outside.
                write_saved_model(
                    serving, model, batch_size=batch_size, dtype="float32"
                )
            examples = _examples(serving, calibration, batch_size)
            convert_apart(model, path, examples, _input_dtype(serving))

    def describe(self, serving, path):
        """Returns inputs and outputs, of int8 files with dtypes and scales."""
        batch_size = serving.batch_size or 1
        specs = [describe(s, batch_size) for s in (serving.inputs, serving.outputs)]
        if self.precision != "int8":
            return specs
        runner = self.open(path)
        inputs = _with_scales(specs[0], runner.inputs)
        if serving.preprocessing is not None:
            _check_scale_of_pixels(inputs[0])
        return inputs, _with_scales(specs[1], runner.outputs)

    def open(self, path):
        """Returns its interpreter."""
        return TFLiteRunner(path)

    def inspect(self, path):
        """Checks that all operations are built in and none is of training."""
        from ai_edge_litert.tools import flatbuffer_utils

        model = _read(path)
        custom = sorted(
            code.customCode.decode()
            for code in model.operatorCodes
            if code.customCode is not None
        )
        builtin = flatbuffer_utils.BuiltinOperator
        names = {number: name for name, number in vars(builtin).items()}
        operations = {
            names.get(flatbuffer_utils.get_builtin_code_from_operator_code(code))
            for code in model.operatorCodes
        }
        reasons = training_reasons(sorted(operations & _TRAINING))
        if custom:
            reasons.append(
                "needs operations that the interpreter does not have (Flex or custom): "
                f"{', '.join(custom)}"
            )
        return reasons

    def embed_metadata(self, path, metadata):
        """Adds the metadata buffer."""
        from ai_edge_litert.tools import flatbuffer_utils

        model = _read(path)
        buffer = flatbuffer_utils.BufferT()
        buffer.data = list(json.dumps(metadata).encode())
        model.buffers.append(buffer)
        entry = flatbuffer_utils.schema_fb.MetadataT()
        entry.name = METADATA
        entry.buffer = len(model.buffers) - 1
        model.metadata = [*(model.metadata or []), entry]
        Path(path).write_bytes(flatbuffer_utils.convert_object_to_bytearray(model))

    def read_metadata(self, path):
        """Reads the metadata buffer."""
        model = _read(path)
        for entry in model.metadata or []:
            if entry.name.decode() == METADATA:
                return json.loads(bytes(model.buffers[entry.buffer].data))
        return {}


def _read(path):
    from ai_edge_litert.tools import flatbuffer_utils

    return flatbuffer_utils.read_model_from_bytearray(
        bytearray(Path(path).read_bytes())
    )


@contextlib.contextmanager
def _whole_graph(serving):
    """Makes traces that the quantizer can take: limited boxes, no loops."""
    steps = serving.inputs[0].shape[1:2]
    with limited_boxes(), unrolled(serving.student, *steps):
        yield


def _input_dtype(serving):
    return "uint8" if serving.preprocessing is not None else "int8"


def _examples(serving, calibration, batch_size):
    """Returns the batches that the quantizer runs, a list of dicts, or None."""
    if calibration is None:
        return None
    takes_pixels = serving.preprocessing is not None
    starts = range(0, len(calibration), batch_size)
    examples = [calibration.full_batch(start, batch_size) for start in starts]
    if takes_pixels:
        examples = [
            {name: image.astype("float32") for name, image in example.items()}
            for example in examples
        ]
        # The whole range, so that the scale is 1 and raw pixels go straight in;
        # two pixels, so that no other activation's range grows.
        (image,) = examples[0].values()
        image[0, 0, 0], image[0, -1, -1] = 0, 255
    mirrored = [reversed_in_time(serving.student, example) for example in examples]
    return examples + [example for example in mirrored if example is not None]


def _with_scales(specs, found):
    """Returns specs of a float student with dtypes and scales of its int8 file."""
    by_name = {spec.name: spec for spec in found}
    described = []
    for spec in specs:
        file = by_name.get(spec.name, spec)
        described.append(
            TensorInfo(spec.name, spec.shape, file.dtype, file.quantization)
        )
    return described


def _check_scale_of_pixels(spec):
    wanted = {"scale": 1.0, "zero_point": 0}
    if spec.quantization != wanted:
        raise ExportError(
            "The quantizer rescaled the raw pixels of the input. Expected: "
            f"{wanted}. Received: {spec.quantization}. Export with input='float32'."
        )


class TFLiteRunner(Runner):
    """A TFLite file in the LiteRT interpreter, on one CPU thread.

    It takes and gives floats where the file has integers with a scale.

    Args:
        path: file.

    Example:

    ```python
    TFLiteRunner("export/student.tflite").run({"image": images[:1]})["logits"]
    ```
    """

    def __init__(self, path):
        from ai_edge_litert.interpreter import Interpreter

        # The runner only borrows the interpreter.
        self._interpreter = Interpreter(str(path), num_threads=1)
        self._runner = self._interpreter.get_signature_runner("serving_default")
        self.inputs = _describe(self._runner.get_input_details())
        self.outputs = _describe(self._runner.get_output_details())

    def find_warnings(self):
        """Returns which operations run outside the CPU delegate."""
        return find_delegation_problem(self._interpreter._get_ops_details())

    def run(self, arrays):
        """Runs the interpreter."""
        specs = {spec.name: spec for spec in self.inputs}
        outputs = self._runner(
            **{name: _quantize(array, specs[name]) for name, array in arrays.items()}
        )
        return {
            spec.name: _dequantize(outputs[spec.name], spec) for spec in self.outputs
        }


def _describe(details):
    specs = []
    for name, detail in details.items():
        scale, zero_point = detail["quantization"]
        quantization = None
        if scale:
            quantization = {"scale": float(scale), "zero_point": int(zero_point)}
        shape = detail["shape_signature"].tolist()
        dtype = np.dtype(detail["dtype"]).name
        specs.append(TensorInfo(name, shape, dtype, quantization))
    return specs


def _quantize(array, spec):
    """Returns a float array as integers of an input's scale; others as they are."""
    if spec.quantization is None or not np.issubdtype(array.dtype, np.floating):
        return array
    limits = np.iinfo(spec.dtype)
    scale, zero_point = (spec.quantization[key] for key in ("scale", "zero_point"))
    values = np.rint(array / scale) + zero_point
    return np.clip(values, limits.min, limits.max).astype(spec.dtype)


def _dequantize(array, spec):
    """Returns the float array that integers of an output's scale stand for."""
    if spec.quantization is None:
        return array
    scale, zero_point = (spec.quantization[key] for key in ("scale", "zero_point"))
    return ((array.astype("float32") - zero_point) * scale).astype("float32")
