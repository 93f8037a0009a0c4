"""The runtimes that artefacts are meant for, all with the same attributes.

Each has `inputs` and `outputs` (name, shape, dtype as in the manifest), `batch_size`
(None for any), `num_threads`, and `run(arrays) -> {output name: array}` for the input
arrays by name.
"""

import os

import numpy as np
import tensorflow as tf

from ..records.manifest import describe
from .tflite import dequantize, quantize


class KerasRuntime:
    """The Keras student in a `tf.function`: what artefacts are compared with.

    Always on the CPU, as the other runtimes are: a GPU's float32 convolutions round
    to fewer bits than the tolerance allows.

    Args:
        serving: `Serving`.

    Example:

    ```python
    KerasRuntime(serving).run({"image": images})["logits"]
    ```
    """

    batch_size = None

    def __init__(self, serving):
        self.num_threads = tensorflow_threads()
        self.inputs = describe(serving.inputs)
        self.outputs = describe(serving.outputs)
        self._serving = serving
        # Not the trace that the artefacts were written from.
        self._function = tf.function(
            lambda inputs: serving.student(inputs, training=False),
            autograph=False,
            reduce_retracing=True,
        )

    def run(self, arrays):
        with tf.device("/CPU:0"):
            inputs = tf.nest.map_structure(
                tf.constant, self._serving.student_inputs(arrays)
            )
            outputs = self._serving.name_outputs(self._function(inputs))
        return {name: output.numpy() for name, output in outputs.items()}


class SavedModelRuntime:
    """A SavedModel's `serving_default` in TensorFlow, on the CPU.

    Args:
        path: folder.

    Example:

    ```python
    SavedModelRuntime("export/saved_model").run({"image": images})["logits"]
    ```
    """

    def __init__(self, path):
        with tf.device("/CPU:0"):
            # Its variables live as long as this object does.
            self._model = tf.saved_model.load(str(path))
        if "serving_default" not in self._model.signatures:
            raise ValueError("no signature 'serving_default'")
        self._signature = self._model.signatures["serving_default"]
        inputs = self._signature.structured_input_signature[1]
        outputs = self._signature.structured_outputs
        self.inputs = self._describe(inputs)
        self.outputs = self._describe(outputs)
        self.batch_size = _batch_size(self.inputs)
        self.num_threads = tensorflow_threads()

    @staticmethod
    def _describe(specs):
        return [
            {"name": name, "shape": spec.shape.as_list(), "dtype": spec.dtype.name}
            for name, spec in specs.items()
        ]

    def run(self, arrays):
        with tf.device("/CPU:0"):
            tensors = {name: tf.constant(array) for name, array in arrays.items()}
            outputs = self._signature(**tensors)
        return {name: output.numpy() for name, output in outputs.items()}


class OnnxRuntime:
    """An ONNX file in onnxruntime, on one CPU thread.

    Args:
        path: file.

    Example:

    ```python
    OnnxRuntime("export/student.onnx").run({"image": images})["logits"]
    ```
    """

    num_threads = 1

    def __init__(self, path):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4  # Errors are raised; they need no log.
        self._session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        self.inputs = [self._describe(node) for node in self._session.get_inputs()]
        self.outputs = [self._describe(node) for node in self._session.get_outputs()]
        self.batch_size = _batch_size(self.inputs)

    @staticmethod
    def _describe(node):
        shape = [size if isinstance(size, int) else None for size in node.shape]
        # "tensor(float)": the names are C++'s for the two floats, NumPy's for others.
        dtype = node.type.removeprefix("tensor(").removesuffix(")")
        dtype = {"float": "float32", "double": "float64"}.get(dtype, dtype)
        return {"name": node.name, "shape": shape, "dtype": dtype}

    def run(self, arrays):
        names = [spec["name"] for spec in self.outputs]
        return dict(zip(names, self._session.run(names, arrays), strict=True))


class TFLiteRuntime:
    """A TFLite file in the LiteRT interpreter, on one CPU thread.

    It takes and gives floats where the file has integers with a scale.

    Args:
        path: file.

    Example:

    ```python
    TFLiteRuntime("export/student.tflite").run({"image": images[:1]})["logits"]
    ```
    """

    num_threads = 1

    def __init__(self, path):
        from ai_edge_litert.interpreter import Interpreter

        # The runner only borrows the interpreter.
        self._interpreter = Interpreter(str(path), num_threads=1)
        self._runner = self._interpreter.get_signature_runner("serving_default")
        self.inputs = self._describe(self._runner.get_input_details())
        self.outputs = self._describe(self._runner.get_output_details())
        self.batch_size = _batch_size(self.inputs)

    @property
    def operations(self):
        """All operations of the graph, after the first run with delegates among them.

        Each is a dict with `op_name`, and `inputs` and `outputs`, which are indices of
        tensors.
        """
        return self._interpreter._get_ops_details()

    @staticmethod
    def _describe(details):
        specs = []
        for name, detail in details.items():
            spec = {
                "name": name,
                "shape": detail["shape_signature"].tolist(),
                "dtype": np.dtype(detail["dtype"]).name,
            }
            scale, zero_point = detail["quantization"]
            if scale:
                spec["quantization"] = {
                    "scale": float(scale),
                    "zero_point": int(zero_point),
                }
            specs.append(spec)
        return specs

    def run(self, arrays):
        specs = {spec["name"]: spec for spec in self.inputs}
        outputs = self._runner(
            **{name: quantize(array, specs[name]) for name, array in arrays.items()}
        )
        specs = {spec["name"]: spec for spec in self.outputs}
        return {name: dequantize(outputs[name], specs[name]) for name in outputs}


def tensorflow_threads():
    """Returns the number of threads in which TensorFlow computes one operation.

    Example:

    ```python
    tensorflow_threads()  # 8
    ```
    """
    tells = hasattr(os, "sched_getaffinity")
    available = len(os.sched_getaffinity(0)) if tells else os.cpu_count()
    # Zero, unless it was set, stands for all processors that this process may use.
    return tf.config.threading.get_intra_op_parallelism_threads() or available


def _batch_size(inputs):
    """Returns the batch size of the inputs as a file has them; None for any."""
    size = inputs[0]["shape"][0]
    return size if size and size > 0 else None


# By the family of formats.
RUNTIMES = {
    "saved_model": SavedModelRuntime,
    "onnx": OnnxRuntime,
    "tflite": TFLiteRuntime,
}
