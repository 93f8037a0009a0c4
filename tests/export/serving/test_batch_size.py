"""Artifacts for a number of examples that is fixed."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from keras_diffkd.export import export_student, verify
from keras_diffkd.export.formats import FORMATS

pytestmark = pytest.mark.usefixtures("int8_in_this_process")


@pytest.fixture(scope="module")
def fixed(student, images, tmp_path_factory):
    """All formats for three examples; the last batch of the samples has one."""
    folder = tmp_path_factory.mktemp("fixed") / "export"
    manifest = export_student(
        student,
        folder,
        list(FORMATS),
        samples=images[:100],
        batch_size=3,
        quantized_tolerance=1.0,
    )
    return folder, manifest


def run_saved_model(path, images):
    signature = tf.saved_model.load(str(path)).signatures["serving_default"]
    return signature(image=tf.constant(images))["logits"].numpy()


def run_onnx(path, images):
    return onnxruntime.InferenceSession(str(path)).run(["logits"], {"image": images})[0]


def run_tflite(path, images):
    return Interpreter(str(path)).get_signature_runner()(image=images)["logits"]


RUN = {"saved_model": run_saved_model, "onnx": run_onnx, "tflite": run_tflite}


@pytest.mark.parametrize("family", RUN)
def test_files_take_that_many(family, fixed, student, images):
    folder, _ = fixed
    path = folder / FORMATS[family].file
    outputs = RUN[family](path, images[:3])
    expected = student(images[:3], training=False)
    np.testing.assert_allclose(outputs, expected, atol=1e-4, rtol=0)
    assert FORMATS[family].open(path).inputs[0].shape == [3, 6, 6, 2]


def test_onnx_files_take_no_others(fixed, images):
    folder, _ = fixed
    with pytest.raises(Exception, match="Got: 2 Expected: 3"):
        run_onnx(folder / "student.onnx", images[:2])


def test_manifest_and_report(fixed):
    folder, manifest = fixed
    report = json.loads((folder / "report.json").read_text())
    assert manifest["batch_size"] == report["batch_size"] == 3
    assert manifest["inputs"][0]["shape"] == [3, 6, 6, 2]
    assert set(report["artifacts"]) == set(FORMATS)
    for name, entry in manifest["artifacts"].items():
        assert entry["outputs"][0]["shape"] == [3, 5]
        assert report["artifacts"][name]["batch_size"] == 3
        assert entry["verification"]["agreement"] > 0.9
    # Little of so small a student is weights.
    assert any(
        text.startswith("student_int8.onnx is larger than float32: ")
        for text in report["warnings"]
    )
    # No shape is computed from the batch at run time.
    graph = onnx.load(folder / "student.onnx").graph
    assert "Shape" not in {node.op_type for node in graph.node}


@pytest.mark.parametrize("count", [1, 3, 7])
def test_samples_need_not_fill_batches(count, fixed, student, images):
    folder, _ = fixed
    labels = student(images[:count], training=False).numpy().argmax(-1)
    report = verify(folder, student, (images[:count], labels), quantized_tolerance=1.0)
    assert report["num_samples"] == count
    assert report["artifacts"]["onnx"]["accuracy"] == 1.0


def test_any_number_by_default(exported, images):
    manifest = json.loads((exported / "manifest.json").read_text())
    sizes = {n: e["inputs"][0]["shape"][0] for n, e in manifest["artifacts"].items()}
    assert manifest["batch_size"] is None
    assert sizes == {"saved_model": None, "onnx": None, "tflite": 1}
    for family in ("saved_model", "onnx"):
        outputs = RUN[family](exported / FORMATS[family].file, images[:7])
        assert outputs.shape == (7, 5)


@pytest.mark.parametrize("batch_size", [0, -1, 2.0, True, "4"])
def test_unusable_batch_size(batch_size, student, tmp_path):
    with pytest.raises(ValueError, match=r"positive integer, or None.*batch_size="):
        export_student(student, tmp_path / "export", batch_size=batch_size)
    assert list(tmp_path.iterdir()) == []


def test_detector_with_suppression(detector, scenes, tmp_path):
    manifest = export_student(
        detector,
        tmp_path / "export",
        ["saved_model", "onnx"],
        samples=scenes[:3],
        nms={"max_detections": 7},
        batch_size=2,
        tolerance=1e-3,
    )
    path = tmp_path / "export" / "student.onnx"
    found = onnxruntime.InferenceSession(str(path)).run(
        ["boxes"], {"images": scenes[:2]}
    )
    assert found[0].shape == (2, 7, 4)
    for entry in manifest["artifacts"].values():
        assert entry["verification"]["agreement"] == 1.0
