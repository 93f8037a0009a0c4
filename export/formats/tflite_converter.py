"""TensorFlow's TFLite converter: a function, and a program for int8 files.

The program's arguments are the folder of a SavedModel, the .npz file of calibration
examples (empty: the graph itself has the ranges), the dtype of inputs, and the file to
write. It imports nothing of this package, so that it starts sooner.
"""

import sys
from pathlib import Path

if __name__ == "__main__":
    # TensorFlow imports both where they are, which takes as long as all the rest.
    sys.modules.update(dict.fromkeys(("jax", "keras")))

import numpy as np
import tensorflow as tf

# Put before the names of inputs in the .npz file.
PREFIX = "input_"


def convert(model, precision, examples=None, input_dtype="int8"):
    """Returns the content of a TFLite file of a SavedModel.

    Args:
        model: folder.
        precision: as in `Format`.
        examples: callable that gives dicts of arrays by input name, for "int8". None:
            the graph has fake quantizations, and what has none stays float.
        input_dtype: "int8" or "uint8", of float inputs that become integers.

    Example:

    ```python
    convert("export/saved_model", "float16")
    ```
    """
    converter = tf.lite.TFLiteConverter.from_saved_model(str(model))
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    if precision != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if precision == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if precision == "int8":
        converter.inference_input_type = tf.as_dtype(input_dtype)
        converter.inference_output_type = tf.int8
    if examples is not None:
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.representative_dataset = examples
    return converter.convert()


def main(model, examples, input_dtype, path):
    """Converts to int8, and runs the file once to see that it runs."""
    given = _read(examples) if examples else None
    Path(path).write_bytes(convert(model, "int8", given, input_dtype))
    _run(path)


def _read(examples):
    """Returns a callable that gives the examples of a file."""
    with np.load(examples, allow_pickle=False) as file:
        arrays = {name.removeprefix(PREFIX): file[name] for name in file.files}
    count = len(next(iter(arrays.values())))

    def given():
        for index in range(count):
            yield {name: array[index] for name, array in arrays.items()}

    return given


def _run(path):
    """Runs the file once; if the interpreter crashes, only this process ends."""
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(path, num_threads=1).get_signature_runner("serving_default")
    runner(
        **{
            name: np.zeros(detail["shape"], detail["dtype"])
            for name, detail in runner.get_input_details().items()
        }
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
