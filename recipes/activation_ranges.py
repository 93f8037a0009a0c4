"""Where the ranges of int8 activations are from: training, or calibration."""

from pathlib import Path

from keras_diffkd.export.arguments import needs_calibration
from keras_diffkd.quantization.ranges import QuantizationRanges

from .data import take_calibration

FILE_NAME = "quantization_ranges.json"


def activation_ranges(data, path, formats):
    """Returns the arguments of `export_student` that give activations their ranges.

    A quantization-aware training leaves ranges beside the student's file; without them,
    images of the training split are to calibrate with. Prints which it is, where a
    format needs them.

    Args:
        data: data set from `load_data`.
        path: the student's `.keras` file.
        formats: list of names.

    Returns:
        dict.

    Raises:
        ValueError: if the file of ranges is damaged.

    Example:

    ```python
    activation_ranges(data, run.student, ["onnx_int8"])
    ```
    """
    if not needs_calibration(formats):
        return {}
    ranges = learned_ranges(path)
    if ranges is not None:
        return {"ranges": ranges}
    images = take_calibration(data)
    print(
        f"int8: ranges calibrated on {len(images)} training images; "
        "--quantization_aware=int8 of diffkd-distill learns them in training"
    )
    return {"calibration_samples": images}


def learned_ranges(path):
    """Returns the `QuantizationRanges` beside a student's file, and prints where from.

    Args:
        path: the student's `.keras` file.

    Returns:
        `QuantizationRanges`; None without such a file.

    Raises:
        ValueError: if the file of ranges is damaged.
    """
    file = Path(path).with_name(FILE_NAME)
    if not file.is_file():
        return None
    print(f"int8: the ranges of {file}, learned in training")
    return QuantizationRanges.load(file)
