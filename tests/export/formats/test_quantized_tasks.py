"""Quantized detectors and segmenters."""

import numpy as np
import pytest

from keras_diffkd.export import decoded, export_student
from keras_diffkd.export.formats.onnx import ONNXRunner
from keras_diffkd.export.formats.tflite import TFLiteRunner

pytestmark = pytest.mark.usefixtures("int8_in_this_process")

NORMALIZATION = {"mean": [0.5] * 3, "std": [0.5] * 3}


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(4).integers(0, 256, (6, 64, 64, 3), "uint8")


def found(outputs, targets):
    """Of random weights only that there is something to find."""
    return {"found": float(outputs["scores"].max() > 0.5)}


def test_detector(detector, pixels, tmp_path):
    folder = tmp_path / "export"
    export_student(
        detector,
        folder,
        ["onnx_int8", "tflite_int8"],
        input="uint8",
        samples=(pixels, np.zeros(6)),
        metrics=found,
        normalization=NORMALIZATION,
    )
    expected = decoded(detector)((pixels / 255 - 0.5) / 0.5, training=False)
    expected = {name: output.numpy() for name, output in expected.items()}
    onnx = ONNXRunner(folder / "student_int8.onnx").run({"images": pixels})
    interpreter = TFLiteRunner(folder / "student_int8.tflite")
    assert interpreter.inputs[0].dtype == "uint8"
    tflite = [interpreter.run({"images": image[None]}) for image in pixels]
    tflite = {name: np.concatenate([o[name] for o in tflite]) for name in onnx}
    for outputs in (onnx, tflite):
        assert set(outputs) == {"bbox_regression", "boxes", "cls_logits", "scores"}
        for name in ("boxes", "scores"):
            assert np.abs(outputs[name] - expected[name]).mean() < 0.02
        nearest = outputs["cls_logits"].argmax(-1) == expected["cls_logits"].argmax(-1)
        assert nearest.mean() > 0.8


def test_detector_with_suppression_in_onnx(detector, pixels, tmp_path):
    manifest = export_student(
        detector,
        tmp_path / "export",
        ["onnx_int8"],
        input="uint8",
        samples=(pixels, np.zeros(6)),
        metrics=found,
        normalization=NORMALIZATION,
        nms={"score_threshold": 0.6},
    )
    entry = manifest["artifacts"]["onnx_int8"]
    assert entry["verification"]["found"] == 1.0
    assert entry["verification"]["agreement"] > 0.5
    with pytest.raises(ValueError, match="the format 'tflite_int8' with nms"):
        export_student(
            detector, tmp_path / "other", ["tflite_int8"], nms={}, samples=pixels
        )


def test_segmenter(segmenter, pixels, tmp_path):
    images = (pixels / 255 - 0.5) / 0.5
    masks = segmenter(images, training=False).numpy().argmax(-1)
    manifest = export_student(
        segmenter,
        tmp_path / "export",
        ["tflite_dynamic", "onnx_int8", "tflite_int8"],
        input="uint8",
        samples=(images, masks),
        normalization=NORMALIZATION,
        quantized_tolerance=0.1,
    )
    for entry in manifest["artifacts"].values():
        assert entry["verification"]["accuracy"] > 0.9
