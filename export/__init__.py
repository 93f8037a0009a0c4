"""Takes a trained student to SavedModel, ONNX and TFLite, with proof."""

from keras_diffkd.errors import ExportError, VerificationError

from .export import export_student
from .proof.verification import verify
from .records.report import write_verification_report
from .records.table import format_table
from .serving.detection import decoded
from .web.page import write_web_page

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
