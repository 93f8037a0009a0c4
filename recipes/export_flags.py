"""Defines the flags of diffkd-export, and reads the arguments that they set."""

from pathlib import Path

import keras
from absl import flags as absl_flags

from keras_diffkd.export.arguments import check_formats

from . import flags, verify

WEB = "web"
FORMATS = absl_flags.DEFINE_list(
    "formats",
    ["saved_model", "onnx", "tflite"],
    "Formats to write, separated by commas: saved_model, onnx, tflite; onnx_int8, "
    "tflite_int8 (weights and activations in int8), tflite_dynamic (weights in int8), "
    "tflite_float16 (weights in float16); and web, a page that runs student.onnx in "
    "the browser (docs/web_page.md).",
)
QUANTIZE = absl_flags.DEFINE_enum(
    "quantize",
    None,
    ["int8"],
    "int8 adds onnx_int8 to onnx and tflite_int8 to tflite; unset: no more formats.",
)
INPUT = absl_flags.DEFINE_enum(
    "input",
    "uint8",
    ["uint8", "float32"],
    "uint8: artifacts take raw pixels and normalize them; float32: they take the "
    "student's input, the default where --run_dir, --dataset and --normalization are "
    "unset.",
)
OPSET = absl_flags.DEFINE_integer(
    "opset", 17, "ONNX operator set of student.onnx.", lower_bound=1
)
BATCH = absl_flags.DEFINE_string(
    "batch",
    "dynamic",
    "Images that artifacts take at once: a number, which is then fixed in all of them; "
    "dynamic: any number in SavedModel and ONNX, and one in TFLite files, whose "
    "delegates need a fixed size.",
)
NMS = absl_flags.DEFINE_boolean(
    "nms",
    False,
    "Put non-maximum suppression into a detector's artifacts; TFLite cannot do it, so "
    "the default of --formats is saved_model,onnx then.",
)
WEB_SAMPLES = absl_flags.DEFINE_integer(
    "web_samples",
    8,
    "Images of the test split to publish with the web page.",
    lower_bound=0,
)
WEB_TITLE = absl_flags.DEFINE_string(
    "web_title", None, "Heading of the web page; unset: the name of the data set."
)
WEB_INPUT = absl_flags.DEFINE_enum(
    "web_input",
    "auto",
    ["auto", "draw", "picture"],
    "What the web page is for; auto: drawings of small gray digits and letters, "
    "pictures of everything else.",
)
WEB_RUNTIME = absl_flags.DEFINE_string(
    "web_runtime",
    None,
    "Folder with the npm package onnxruntime-web; unset: npm downloads it once.",
)
REPLACE = absl_flags.DEFINE_boolean(
    "replace",
    False,
    "Remove the formats and the web page of an earlier export that this one does not "
    "write; without it they stay, and are verified again.",
)
OUTPUT_DIR = absl_flags.DEFINE_string(
    "output_dir", None, "Folder of the artifacts; unset: R/export of --run_dir."
)


def options(samples=None):
    """Returns the arguments of `export_student` that the flags set.

    Args:
        samples: `(images, targets)` to take the web page's samples from, or None.

    Raises:
        ValueError: if a web page is wanted without the ONNX file that it runs.
    """
    names = FORMATS.value
    if NMS.value and not FORMATS.present:
        names = ["saved_model", "onnx"]
    if WEB in names and "onnx" not in names:
        raise ValueError(
            "the web page runs student.onnx: add onnx to --formats. Received: "
            f"--formats={','.join(names)}"
        )
    return {
        "formats": [name for name in names if name != WEB],
        "web": web_options(samples) if WEB in names else None,
        "quantize": QUANTIZE.value,
        "opset": OPSET.value,
        "batch_size": batch_size(),
        "nms": {} if NMS.value else None,
        "replace": REPLACE.value,
        "tolerance": verify.TOLERANCE.value,
        "quantized_tolerance": verify.QUANTIZED_TOLERANCE.value,
    }


def batch_size():
    """Returns `--batch` in the form that `export_student` takes.

    Raises:
        ValueError: if it is neither a number nor dynamic.
    """
    if BATCH.value == "dynamic":
        return None
    if not (BATCH.value.isdecimal() and int(BATCH.value)):
        raise ValueError(
            "--batch must be dynamic, or a positive number of images. Received: "
            f"--batch={BATCH.value}"
        )
    return int(BATCH.value)


def formats():
    """Returns the names of all formats to write, without the web page."""
    names = [name for name in FORMATS.value if name != WEB]
    return check_formats(names, QUANTIZE.value)


def web_options(samples):
    """Returns the argument `web` of `export_student` that the flags set."""
    count = WEB_SAMPLES.value
    if samples is not None:
        samples = keras.tree.map_structure(lambda array: array[:count], samples)
    name = Path(flags.DATASET.value or "").stem.replace("_", " ")
    return {
        "title": WEB_TITLE.value or name or None,
        "samples": samples if count else None,
        "drawing": {"draw": True, "picture": False}.get(WEB_INPUT.value),
        "runtime_dir": WEB_RUNTIME.value,
    }
