import keras
import pytest

from keras_diffkd.export import export_student, verify
from keras_diffkd.export.arguments import check_formats, needs_calibration


def test_quantize_adds_to_the_families_that_are_there():
    assert check_formats(["saved_model", "tflite"], "int8") == [
        "saved_model",
        "tflite",
        "tflite_int8",
    ]
    assert check_formats(["onnx", "onnx"], "int8") == ["onnx", "onnx_int8"]
    assert check_formats(["onnx_int8"], "int8") == ["onnx_int8"]


@pytest.mark.parametrize(
    ("formats", "quantize", "message"),
    [
        (["saved_model"], "int8", "needs 'onnx' or 'tflite'"),
        (["onnx"], "int4", "None or 'int8'. Received: quantize='int4'"),
    ],
)
def test_what_cannot_be_quantized(formats, quantize, message):
    with pytest.raises(ValueError, match=message):
        check_formats(formats, quantize)


def test_only_activations_need_calibration():
    assert needs_calibration(["onnx", "tflite_int8"])
    assert not needs_calibration(["tflite_dynamic", "tflite_float16"])


def test_other_backends_are_told_what_to_do(student, images, tmp_path, monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    message = "the backend 'jax'.*diffkd-export --student=student.keras"
    with pytest.raises(ValueError, match=message):
        export_student(student, tmp_path / "export", ["onnx"])
    with pytest.raises(ValueError, match=message):
        verify(tmp_path / "export", student, images)
    assert not list(tmp_path.iterdir())
