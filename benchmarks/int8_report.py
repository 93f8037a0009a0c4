"""Exports a student to int8 files and reads their verification."""

import tempfile
from pathlib import Path

from keras_diffkd.export import VerificationError, export_student
from keras_diffkd.export.records.report import FILE_NAME as REPORT
from keras_diffkd.export.records.report import read_verification_report


def int8_report(student, **options):
    """Returns the verification report of a student's int8 files.

    Args:
        student: Built `keras.Model`.
        **options: Further arguments of `export_student`.
    """
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "export"
        try:
            export_student(student, output, ["onnx_int8", "tflite_int8"], **options)
        except VerificationError as error:  # A refused file is a result, too.
            return error.report
        return read_verification_report(output / REPORT)
