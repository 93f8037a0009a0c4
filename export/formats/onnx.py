"""ONNX, for onnxruntime and the runtimes of many accelerators."""

import importlib.util
import json
from pathlib import Path

from ..serving.tensors import TensorInfo
from .base import METADATA_KEYS, PER_CHANNEL, Format, Runner, training_reasons
from .onnx_float32 import write_onnx
from .onnx_int8 import write_onnx_int8

_TRAINING = {
    "Bernoulli",
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
}


class ONNX(Format):
    """An ONNX file; its metadata is in `metadata_props`, JSON by key.

    Example:

    ```python
    ONNX("int8").write(serving, "export/student_int8.onnx", calibration=samples)
    ```
    """

    names = {"float32": "onnx", "int8": "onnx_int8"}
    extension = ".onnx"
    writes_with = ("tf2onnx", "onnx")
    runs_with = ("onnxruntime",)
    quantization = {"int8": {"weights": PER_CHANNEL, "activations": "uint8"}}

    def write(self, serving, path, *, opset=17, calibration=None):
        """Writes the file with tf2onnx, and quantizes it with onnxruntime."""
        if self.precision == "int8":
            write_onnx_int8(serving, path, opset=opset, calibration=calibration)
        else:
            write_onnx(serving, path, opset=opset)

    def open(self, path):
        """Returns its session in onnxruntime."""
        return ONNXRunner(path)

    def inspect(self, path):
        """Checks that the file is valid and not in training mode.

        The package onnx is needed for it; where only onnxruntime is installed, nothing
        is inspected.
        """
        if importlib.util.find_spec("onnx") is None:
            return []
        import onnx

        model = onnx.load(path)
        try:
            onnx.checker.check_model(model, full_check=True)
        except Exception as error:  # Several kinds, none of them common to all.
            return [f"invalid ONNX: {' '.join(str(error).split())[:300]}"]
        # Dropout takes its mode as a tensor; our own files have no Dropout.
        found = {
            node.op_type
            for node in model.graph.node
            if node.op_type in _TRAINING
            or (node.op_type == "Dropout" and len(node.input) > 2 and node.input[2])
            or any(a.name == "training_mode" and a.i for a in node.attribute)
        }
        return training_reasons(sorted(found))

    def embed_metadata(self, path, metadata):
        """Writes the properties."""
        import onnx

        model = onnx.load(path)
        onnx.helper.set_model_props(
            model, {key: json.dumps(value) for key, value in metadata.items()}
        )
        Path(path).write_bytes(model.SerializeToString())

    def read_metadata(self, path):
        """Reads the properties as a program that runs the file does, without onnx."""
        import onnxruntime

        session = onnxruntime.InferenceSession(
            str(path), providers=["CPUExecutionProvider"]
        )
        properties = session.get_modelmeta().custom_metadata_map
        # Tools that write ONNX files add properties of their own.
        known = {*METADATA_KEYS, "precision"}
        return {key: json.loads(properties[key]) for key in properties if key in known}


class ONNXRunner(Runner):
    """An ONNX file in onnxruntime, on one CPU thread.

    Args:
        path: file.

    Example:

    ```python
    ONNXRunner("export/student.onnx").run({"image": images})["logits"]
    ```
    """

    def __init__(self, path):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4  # Errors are raised; they need no log.
        self._session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        self.inputs = [_describe(node) for node in self._session.get_inputs()]
        self.outputs = [_describe(node) for node in self._session.get_outputs()]

    def run(self, arrays):
        """Runs the session."""
        names = [spec.name for spec in self.outputs]
        return dict(zip(names, self._session.run(names, arrays), strict=True))


def _describe(node):
    shape = [size if isinstance(size, int) else None for size in node.shape]
    # "tensor(float)": the names are C++'s for the two floats, NumPy's for others.
    dtype = node.type.removeprefix("tensor(").removesuffix(")")
    dtype = {"float": "float32", "double": "float64"}.get(dtype, dtype)
    return TensorInfo(node.name, shape, dtype)
