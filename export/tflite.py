"""Writes a student as a LiteRT (TFLite) file (with `tf.lite.TFLiteConverter`)."""

import tempfile
from pathlib import Path

import tensorflow as tf

from keras_diffkd.export.saved_model import write_saved_model


def write_tflite(serving, path):
    """Writes the float32 TFLite file of the student for batch size 1.

    The batch size is fixed because delegates for phones and accelerators take
    whole graphs only when all shapes are known. Only operations that are built into
    the interpreter are allowed: a model that needs TensorFlow's own ("Flex") does
    not run where TFLite files are meant to run.

    Args:
        serving: `Serving`.
        path: file to write.

    Example:

    ```python
    write_tflite(Serving(student), "export/student.tflite")
    ```
    """
    # Through a SavedModel: `from_concrete_functions` and `tf.Module` lose the
    # variables of a Keras 3 model and write a file that outputs NaN.
    with tempfile.TemporaryDirectory() as folder:
        write_saved_model(serving, folder, batch_size=1)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        content = converter.convert()
    Path(path).write_bytes(content)
