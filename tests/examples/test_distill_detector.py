"""The detector example as a newcomer runs it, without a network."""

import json
import re
from pathlib import Path

import keras
import numpy as np
import pytest
from helpers.scripts import run_example_here

SCRIPT = Path(__file__).parents[2] / "examples" / "distill_detector.py"
pytestmark = pytest.mark.backend("tensorflow")


@pytest.mark.long
def test_from_images_with_boxes_to_exported_files(tmp_path, data_dir):
    pytest.importorskip("keras_hub")
    printed = run_example_here(
        SCRIPT,
        "--dataset=digit_scenes/small",
        "--epochs=1",
        "--steps_per_epoch=2",
        "--batch_size=8",
        f"--data_dir={data_dir}",
        f"--output_dir={tmp_path}",
    )
    assert "64 images for training, 32 for the test, 10 classes" in printed
    assert "diffkd/distill" in printed
    for name in ("teacher", "student"):
        detector = keras.models.load_model(tmp_path / f"{name}.keras")
        outputs = detector(np.zeros((2, 64, 64, 3), "float32"))
        assert outputs["cls_logits"].shape[-1] == 10
        row = rf"^{name} +{detector.count_params():,} +0\.\d{{3}} +0\.\d{{3}}$"
        assert re.search(row, printed, re.MULTILINE), printed

    export = tmp_path / "export"
    manifest = json.loads((export / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["labels"] == [str(digit) for digit in range(10)]
    assert {"mAP", "mAP50"} <= set(manifest["verification"]["metrics"])
    for name in ("saved_model", "student.onnx", "student.tflite"):
        assert (export / name).exists()
        assert re.search(rf"^{name} .* yes$", printed, re.MULTILINE)
