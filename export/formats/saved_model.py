"""SavedModel, for TensorFlow and TensorFlow Serving (written by `keras.export`)."""

import json
import os
from pathlib import Path

import keras
import tensorflow as tf

from ..serving.graph import inline_functions, training_operations
from ..serving.tensors import TensorInfo
from .base import Format, Runner, training_reasons

METADATA_FILE = "assets.extra/keras_diffkd.json"


class SavedModel(Format):
    """A folder whose signature `serving_default` computes the student.

    Example:

    ```python
    SavedModel().write(Serving(student), "export/saved_model")
    serve = tf.saved_model.load("export/saved_model").signatures["serving_default"]
    serve(image=images)["logits"]
    ```
    """

    names = {"float32": "saved_model"}
    file = "saved_model"

    def write(self, serving, path, *, opset=17, calibration=None):
        """Writes the folder."""
        write_saved_model(serving, path)

    def open(self, path):
        """Returns its signature in TensorFlow."""
        return SavedModelRunner(path)

    def inspect(self, path):
        """Checks that its graph is not in training mode."""
        signature = tf.saved_model.load(str(path)).signatures["serving_default"]
        return training_reasons(training_operations(signature.graph.as_graph_def()))

    def embed_metadata(self, path, metadata):
        """Writes a file into `assets.extra`, which TensorFlow leaves to others."""
        file = Path(path) / METADATA_FILE
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(metadata, indent=2), encoding="utf-8")

    def read_metadata(self, path):
        """Reads the file in `assets.extra`."""
        file = Path(path) / METADATA_FILE
        return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}


def write_saved_model(serving, path, *, batch_size=None, dtype=None):
    """Writes the SavedModel, from which other formats are converted, too.

    Args:
        serving: `Serving`.
        path: folder to create.
        batch_size: int, or None for that of `serving`.
        dtype: None, or that of pixels instead of uint8.

    Example:

    ```python
    write_saved_model(Serving(student), "export/saved_model", batch_size=1)
    ```
    """
    archive = keras.export.ExportArchive()
    # No `archive.track(student)`: the archive finds the variables that are used, and
    # with it every one of them would be stored twice.
    with inline_functions():
        archive.add_endpoint("serve", serving, serving.signature(batch_size, dtype))
        archive.write_out(str(path), verbose=False)


class SavedModelRunner(Runner):
    """A SavedModel's `serving_default` in TensorFlow, on the CPU.

    Args:
        path: folder.

    Example:

    ```python
    SavedModelRunner("export/saved_model").run({"image": images})["logits"]
    ```
    """

    def __init__(self, path):
        with tf.device("/CPU:0"):
            # Its variables live as long as this object does.
            self._model = tf.saved_model.load(str(path))
        if "serving_default" not in self._model.signatures:
            raise ValueError("no signature 'serving_default'")
        self._signature = self._model.signatures["serving_default"]
        self.inputs = _describe(self._signature.structured_input_signature[1])
        self.outputs = _describe(self._signature.structured_outputs)
        self.num_threads = tensorflow_threads()

    def run(self, arrays):
        """Runs the signature."""
        with tf.device("/CPU:0"):
            tensors = {name: tf.constant(array) for name, array in arrays.items()}
            outputs = self._signature(**tensors)
        return {name: output.numpy() for name, output in outputs.items()}


def _describe(specs):
    return [
        TensorInfo(name, spec.shape.as_list(), spec.dtype.name)
        for name, spec in specs.items()
    ]


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
