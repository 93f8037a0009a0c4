"""Exports of which some formats fail: the error says what another call can write."""

import re

import keras
import numpy as np
import pytest
from keras import layers

from keras_diffkd.export import ExportError, VerificationError, export_student, writing

ADVICE = r"Nothing was written.*formats=(\[.*\]) \(--formats=(\S+)\)"


@pytest.fixture
def flaky(monkeypatch):
    """A writer that cannot write these formats."""
    write = writing.write_artifact

    def fail(*names):
        def write_or_raise(kind, *args, **options):
            if kind.name in names:
                raise ExportError(f"cannot be written as '{kind.name}'")
            return write(kind, *args, **options)

        monkeypatch.setattr(writing, "write_artifact", write_or_raise)

    return fail


def test_what_passed_is_named(student, images, tmp_path, flaky):
    flaky("tflite", "saved_model")
    with pytest.raises(ExportError, match=ADVICE) as error:
        export_student(student, tmp_path / "export", samples=images[:8])
    message = str(error.value)
    assert "written as 'tflite'" in message
    assert "written as 'saved_model'" in message
    assert list(tmp_path.iterdir()) == []
    formats = re.search(ADVICE, message)[2].split(",")
    assert formats == ["onnx"]


def test_nothing_passed(student, images, tmp_path, flaky):
    flaky("onnx")
    with pytest.raises(ExportError, match="'onnx'$"):
        export_student(student, tmp_path / "export", ["onnx"], samples=images[:8])


def test_failed_verification_beside_an_unwritten_format(tmp_path, flaky, images):
    keras.utils.set_random_seed(0)
    student = keras.Sequential(
        [keras.Input((6, 6, 2)), layers.Flatten(), layers.Dense(5)]
    )
    flaky("tflite")
    with pytest.raises(VerificationError, match=ADVICE) as error:
        export_student(
            student,
            tmp_path / "export",
            ["saved_model", "onnx_int8", "tflite"],
            samples=images,
            calibration_samples=np.zeros_like(images[:2]),
        )
    assert list(error.value.report["failures"]) == ["student_int8.onnx"]
    assert "cannot be written as 'tflite'" in str(error.value)
    assert re.search(ADVICE, str(error.value))[2] == "saved_model"
