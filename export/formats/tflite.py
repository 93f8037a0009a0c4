"""Writes a student as a LiteRT (TFLite) file (with `tf.lite.TFLiteConverter`)."""

import contextlib
import tempfile
from pathlib import Path

import numpy as np

from ..errors import ExportError
from ..serving.detection import limited_boxes
from .saved_model import write_saved_model
from .tflite_apart import convert_apart
from .tflite_converter import convert
from .unrolled import reversed_in_time, unrolled


def write_tflite(serving, path, *, precision="float32", calibration=None):
    """Writes the TFLite file of the student, for batch size 1 if it serves any.

    The batch size is fixed because delegates for phones and accelerators take
    whole graphs only when all shapes are known. Only operations that are built into
    the interpreter are allowed: a model that needs TensorFlow's own ("Flex") does
    not run where TFLite files are meant to run.

    Args:
        serving: `Serving`.
        path: file to write.
        precision: "float32"; "float16" for weights of half the size; "dynamic_int8"
            for int8 weights, one scale per channel; "int8" for int8 weights and
            activations, inputs and outputs. Of pixels, the input is uint8 then.
        calibration: `Samples` for "int8".

    Raises:
        ExportError: if the quantiser fails, or a recurrent student has too many steps.

    Example:

    ```python
    write_tflite(Serving(student), "export/student.tflite")
    ```
    """
    # Through a SavedModel: `from_concrete_functions` and `tf.Module` lose the
    # variables of a Keras 3 model and write a file that outputs NaN.
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model"
        # The quantiser makes an input of float pixels one of uint8; a cast from
        # uint8 it would leave outside.
        dtype = "float32" if precision == "int8" else None
        with _whole_graph(serving, precision):
            batch_size = serving.batch_size or 1
            write_saved_model(serving, model, batch_size=batch_size, dtype=dtype)
        takes_pixels = serving.preprocessing is not None
        if precision == "int8":
            examples = list(_examples(calibration, takes_pixels, batch_size))
            mirrored = [reversed_in_time(serving.student, e) for e in examples]
            examples += [example for example in mirrored if example is not None]
            input_dtype = "uint8" if takes_pixels else "int8"
            convert_apart(model, path, examples, input_dtype)
        else:
            Path(path).write_bytes(convert(model, precision))


@contextlib.contextmanager
def _whole_graph(serving, precision):
    """What the quantiser wants of the graph: limited boxes, and no loops."""
    if precision != "int8":
        yield
        return
    steps = serving.inputs[0].shape[1:2]
    with limited_boxes(), unrolled(serving.student, *steps):
        yield


def _examples(calibration, takes_pixels, batch_size):
    for index in range(0, len(calibration), batch_size):
        example = calibration.full_batch(index, batch_size)
        if takes_pixels:
            example = {name: image.astype("float32") for name, image in example.items()}
        if takes_pixels and index == 0:
            # The whole range, so that the scale is 1 and raw pixels go straight in;
            # two pixels, so that no other activation's range grows.
            (image,) = example.values()
            image[0, 0, 0], image[0, -1, -1] = 0, 255
        yield example


def describe_quantized(specs, found, takes_pixels=False):
    """Returns specs of a float student with dtypes and scales of its int8 file.

    Args:
        specs: list of dicts from `describe`.
        found: the same from the `TFLiteRuntime` of the file.
        takes_pixels: bool. Whether these are pixels, of scale 1.

    Raises:
        ExportError: if an input of pixels has another scale.

    Example:

    ```python
    describe_quantized(describe(serving.outputs, 1), runtime.outputs)[0]["dtype"]
    ```
    """
    by_name = {spec["name"]: spec for spec in found}
    described = []
    for spec in specs:
        file = by_name.get(spec["name"], spec)
        scales = {key: file[key] for key in ("dtype", "quantization") if key in file}
        described.append({**spec, **scales})
    wanted = {"scale": 1.0, "zero_point": 0}
    if takes_pixels and described[0].get("quantization") != wanted:
        raise ExportError(
            "The quantiser gave the input of pixels another scale. Expected: "
            f"{wanted}. Received: {described[0].get('quantization')}. Export with "
            "input='float32'"
        )
    return described


def quantize(array, spec):
    """Returns a float array as integers of an input's scale; others as they are.

    Example:

    ```python
    quantize(np.array([0.5]), {"dtype": "int8", "quantization": scale})
    ```
    """
    if "quantization" not in spec or not np.issubdtype(array.dtype, np.floating):
        return array
    limits = np.iinfo(spec["dtype"])
    scale, zero_point = (spec["quantization"][key] for key in ("scale", "zero_point"))
    values = np.rint(array / scale) + zero_point
    return np.clip(values, limits.min, limits.max).astype(spec["dtype"])


def dequantize(array, spec):
    """Returns the float array that integers of an output's scale stand for.

    Example:

    ```python
    dequantize(np.array([3], "int8"), {"quantization": scale})
    ```
    """
    if "quantization" not in spec:
        return array
    scale, zero_point = (spec["quantization"][key] for key in ("scale", "zero_point"))
    return ((array.astype("float32") - zero_point) * scale).astype("float32")
