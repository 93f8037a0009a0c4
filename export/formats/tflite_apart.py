"""Runs the TFLite quantizer in a process of its own, because it may crash."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from keras_diffkd.errors import ExportError

from ..quiet import last_words
from . import tflite_converter


def convert_apart(model, path, examples, input_dtype="int8"):
    """Writes an int8 TFLite file of a SavedModel.

    Some graphs make TensorFlow's converter abort instead of raising, which would end
    this process and lose what it has made. On some of its files the LiteRT interpreter
    does, so each is run once in the same place.

    Args:
        model: folder.
        path: file to write.
        examples: iterable of dicts of arrays by input name, all of one shape; None:
            the graph itself has the ranges.
        input_dtype: "int8" or "uint8", of float inputs.

    Raises:
        ExportError: with the converter's own words, if it fails or crashes.

    Example:

    ```python
    convert_apart("export/saved_model", "student.tflite", [{"image": images[:1]}])
    ```
    """
    with tempfile.TemporaryDirectory() as folder:
        given = "" if examples is None else _save(list(examples), folder)
        # Not from the folder of the program, which has modules of common names.
        command = [sys.executable, "-P", tflite_converter.__file__, str(model)]
        done = subprocess.run(
            [*command, str(given), input_dtype, str(path)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            # The GPU's memory belongs to the process that trains.
            env={
                **os.environ,
                "CUDA_VISIBLE_DEVICES": "-1",
                "PYTHONWARNINGS": "ignore",
            },
        )
    if done.returncode:
        raise ExportError(_explain(done.returncode, done.stderr, Path(path).exists()))


def _save(examples, folder):
    """Returns the path of a file with the examples."""
    arrays = {
        tflite_converter.PREFIX + name: np.stack([e[name] for e in examples])
        for name in examples[0]
    }
    path = Path(folder) / "examples.npz"
    np.savez(path, **arrays)
    return path


def _explain(code, stderr, is_written):
    """Returns how a converter failed, and its last words."""
    words = last_words(stderr) or "nothing."
    if code > 0:
        return words
    who = "the interpreter of the file" if is_written else "TensorFlow's converter"
    return (
        f"{who} crashed ({_signal_name(-code)}) in a separate process. Leave this "
        f"format out. It printed: {words}"
    )


def _signal_name(number):
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
