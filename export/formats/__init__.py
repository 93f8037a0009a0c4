"""The formats that a student is written in. A new one is a file here, and a line."""

from .onnx import ONNX
from .saved_model import SavedModel
from .tflite import TFLite

KINDS = (
    SavedModel,
    ONNX,
    TFLite,
)
_ALL = [kind(precision) for kind in KINDS for precision in kind.names]
# By name; float32 first, and then what is smaller.
FORMATS = {
    each.name: each for each in sorted(_ALL, key=lambda f: f.precision != "float32")
}
DEFAULT = tuple(each.name for each in FORMATS.values() if each.precision == "float32")
