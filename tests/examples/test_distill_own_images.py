"""The example as a newcomer runs it, once in a process, without a network."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest
from helpers.scripts import run_example, run_example_here
from helpers.small_models import small_hub_backbone

SCRIPT = Path(__file__).parents[2] / "examples" / "distill_own_images.py"
pytestmark = pytest.mark.backend("tensorflow")


@pytest.mark.long
def test_digits_then_own_images_with_the_teacher_that_was_saved(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    preset = small_preset(tmp_path / "preset")
    printed = run_example(
        SCRIPT,
        "--num_digits=120",
        "--epochs=1",
        f"--teacher={preset}",
        f"--student={preset}",
        "--size=32",
        "--teacher_epochs=1",
        f"--output_dir={first}",
    )
    check_results(first, printed)
    assert "/res_net_backbone/stack1_block0_out" in printed
    printed = run_example_here(
        SCRIPT,
        "--epochs=1",
        f"--images={first / 'digits'}",
        f"--teacher={first / 'teacher.keras'}",
        "--student=digits_student",
        "--size=32",
        f"--output_dir={second}",
    )
    check_results(second, printed)
    assert not (second / "digits").exists()
    assert not (second / "teacher.keras").exists()


def small_preset(folder):
    """A classifier for other classes, with what it wants done to the colors."""
    keras_hub = pytest.importorskip("keras_hub")
    backbone = small_hub_backbone()
    converter = keras_hub.layers.ResNetImageConverter(image_size=(32, 32), scale=0.01)
    preprocessor = keras_hub.models.ResNetImageClassifierPreprocessor(converter)
    classifier = keras_hub.models.ResNetImageClassifier(
        backbone=backbone, num_classes=5, preprocessor=preprocessor
    )
    classifier.save_to_preset(str(folder))
    return f"hub:{folder}"


def check_results(output_dir, printed):
    student = keras.models.load_model(output_dir / "student.keras")
    assert student(np.zeros((2, 32, 32, 3), "float32")).shape == (2, 10)
    export = output_dir / "export"
    manifest = json.loads((export / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["labels"] == [str(digit) for digit in range(10)]
    for name in ("saved_model", "student.onnx", "student.tflite"):
        assert (export / name).exists()
        assert f"\n{name} " in printed
