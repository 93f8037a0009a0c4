"""The formats that a student is written in."""

import dataclasses
from collections.abc import Iterable


@dataclasses.dataclass(frozen=True)
class Format:
    """One format.

    Attributes:
        file: name of the file or folder in the export.
        family: "saved_model", "onnx" or "tflite": what writes, runs and inspects it.
        precision: "float32", "float16" (weights only), "dynamic_int8" (weights only)
            or "int8" (weights and activations).

    Example:

    ```python
    FORMATS["tflite_int8"].file  # "student_int8.tflite"
    ```
    """

    file: str
    family: str
    precision: str = "float32"


FORMATS = {
    "saved_model": Format("saved_model", "saved_model"),
    "onnx": Format("student.onnx", "onnx"),
    "tflite": Format("student.tflite", "tflite"),
    "onnx_int8": Format("student_int8.onnx", "onnx", "int8"),
    "tflite_float16": Format("student_float16.tflite", "tflite", "float16"),
    "tflite_dynamic": Format("student_dynamic.tflite", "tflite", "dynamic_int8"),
    "tflite_int8": Format("student_int8.tflite", "tflite", "int8"),
}
DEFAULT = ("saved_model", "onnx", "tflite")
# What `quantize` adds to the float32 formats of a family.
QUANTIZED = {"int8": {"onnx": "onnx_int8", "tflite": "tflite_int8"}}


def check_formats(formats, quantize=None):
    """Returns the names of the formats, each once, with those that `quantize` adds.

    Args:
        formats: list of names from `FORMATS`.
        quantize: None or "int8".

    Raises:
        ValueError: if a name is unknown, there is none, or `quantize` has nothing
            to add to.

    Example:

    ```python
    check_formats(["onnx"], "int8")  # ["onnx", "onnx_int8"]
    ```
    """
    if isinstance(formats, str):
        raise ValueError(
            f"Expected `formats` to be a list. Received: formats={formats!r}. Pass "
            f"formats={formats.split(',')}"
        )
    if not isinstance(formats, Iterable) or not all(
        isinstance(name, str) for name in formats
    ):
        raise ValueError(
            f"Expected `formats` to be a list of names. Received: formats={formats!r}"
        )
    formats = list(dict.fromkeys(formats))
    unknown = [name for name in formats if name not in FORMATS]
    if unknown or not formats:
        raise ValueError(
            f"Expected `formats` to hold at least one of {tuple(FORMATS)} and nothing "
            f"else. Received: formats={formats!r}"
        )
    if quantize is None:
        return formats
    if not isinstance(quantize, str) or quantize not in QUANTIZED:
        raise ValueError(
            "Expected `quantize` to be None or 'int8'. Received: quantize="
            f"{quantize!r}. For other precisions name the format, such as "
            "'tflite_float16'"
        )
    families = {FORMATS[name].family for name in formats}
    added = [name for family, name in QUANTIZED[quantize].items() if family in families]
    if not added:
        raise ValueError(
            f"quantize={quantize!r} needs 'onnx' or 'tflite' among the `formats`: no "
            f"other format is quantised. Received: formats={formats!r}"
        )
    return list(dict.fromkeys([*formats, *added]))


def needs_calibration(formats):
    """Returns whether one of the formats has quantised activations.

    Example:

    ```python
    needs_calibration(["onnx", "onnx_int8"])  # True
    ```
    """
    return any(FORMATS[name].precision == "int8" for name in formats)
