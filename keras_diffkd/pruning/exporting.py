"""Measures what a model costs once it is exported."""

import dataclasses
import importlib
import tempfile
from pathlib import Path

# Widths to export are multiples of one over this; about four are tried.
STEPS_TO_EXPORT = 16
FORMAT = "tflite"


@dataclasses.dataclass(frozen=True)
class FileCost:
    """Measures a file.

    Attributes:
        kilobytes: Float, its size in thousands of bytes.
        milliseconds: Float, the median of a call on one sample, on one thread.
    """

    kilobytes: float
    milliseconds: float


def exported(model, **options):
    """Returns the `FileCost` of a model's TFLite file.

    The file is one of `export_student`, which verifies it, on random samples.

    Args:
        model: Built `keras.Model`.
        options: Arguments of `export_student`.

    Raises:
        ImportError: If a package of the extra `export` is missing.
        ExportError: If the model cannot be exported.
    """
    # It needs TensorFlow, and stands above this package.
    export = importlib.import_module("keras_diffkd.export")
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "export"
        # A model that is not trained yet may have large outputs.
        manifest = export.export_student(
            model, target, [FORMAT], tolerance=1e6, **options
        )
        report = importlib.import_module("keras_diffkd.export.records.report")
        path = target / report.FILE_NAME
        result = report.read_verification_report(path)["artifacts"][FORMAT]
    size = manifest["artifacts"][FORMAT]["size"]
    return FileCost(size / 1000, result["latency_ms"])
