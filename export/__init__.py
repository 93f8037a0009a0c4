"""Takes a trained student to SavedModel, ONNX and TFLite, with proof."""

from keras_diffkd.export.detection import decoded
from keras_diffkd.export.errors import ExportError, VerificationError
from keras_diffkd.export.export import export_student
from keras_diffkd.export.report import write_verification_report
from keras_diffkd.export.table import format_table
from keras_diffkd.export.verification import verify
from keras_diffkd.export.web.page import write_web_page

__all__ = [
    "ExportError",
    "VerificationError",
    "decoded",
    "export_student",
    "format_table",
    "verify",
    "write_verification_report",
    "write_web_page",
]
