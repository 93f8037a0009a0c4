"""Full int8 TFLite files without a process for each."""

import contextlib
from pathlib import Path

import pytest

from keras_diffkd.export.formats.tflite_converter import convert


@contextlib.contextmanager
def quantizing_here():
    """Quantizes in this process: another one imports TensorFlow for seconds.

    It is for students that are known to crash no converter.
    """

    def convert_here(model, path, examples, input_dtype="int8"):
        given = None if examples is None else lambda: iter(examples)
        Path(path).write_bytes(convert(model, "int8", given, input_dtype))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("keras_diffkd.export.formats.tflite.convert_apart", convert_here)
        yield
