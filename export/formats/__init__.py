"""The export formats. A new one is a file in this folder and a line in this file."""

from .onnx import ONNX
from .saved_model import SavedModel
from .tflite import TFLite

KINDS = (
    SavedModel,
    ONNX,
    TFLite,
)
_ALL = [kind(precision) for kind in KINDS for precision in kind.names]
# By name: float32 first, then the smaller ones.
FORMATS = {
    each.name: each for each in sorted(_ALL, key=lambda f: f.precision != "float32")
}
DEFAULT = tuple(each.name for each in FORMATS.values() if each.precision == "float32")
