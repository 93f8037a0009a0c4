"""Outputs other than float scores: whole numbers, float64, no batch axis."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from keras_diffkd.export import ExportError, export_student, verify
from keras_diffkd.export.formats import FORMATS

pytestmark = pytest.mark.usefixtures("int8_in_this_process")

VALUES = np.random.default_rng(0).standard_normal((16, 4)).astype("float32")


class ArgMax(layers.Layer):
    """The class itself, with TensorFlow's own operation."""

    def call(self, x):
        return tf.argmax(x, -1)

    def compute_output_spec(self, x):
        return keras.KerasTensor(x.shape[:-1], "int64")


def student(head, dtype="float32"):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4,), dtype=dtype)
    return keras.Model(inputs, head(layers.Dense(5, dtype=dtype)(inputs)))


def test_classes(tmp_path):
    formats = ["saved_model", "onnx", "tflite", "tflite_int8"]
    model = student(ArgMax())
    manifest = export_student(model, tmp_path / "export", formats, samples=VALUES)
    assert manifest["outputs"][0]["dtype"] == "int64"
    for name in formats[:3]:
        assert manifest["artifacts"][name]["verification"]["agreement"] == 1.0


@pytest.mark.parametrize("name", ["onnx", "tflite"])
def test_argmax_of_keras(name, tmp_path):
    """Neither tf2onnx nor the TFLite converter takes it."""
    model = student(lambda x: ops.argmax(x, -1))
    with pytest.raises(ExportError, match=r"keras.ops.argmax.*use `tf.argmax`"):
        export_student(model, tmp_path / "export", [name], samples=VALUES)


def test_float64(tmp_path):
    model = student(lambda x: x, "float64")
    formats = ["saved_model", "onnx"]
    manifest = export_student(model, tmp_path / "export", formats, samples=VALUES)
    assert manifest["outputs"][0]["dtype"] == "float64"
    verification = manifest["artifacts"]["onnx"]["verification"]
    assert verification["max_difference"] < 1e-12


def test_float64_in_tflite(tmp_path):
    model = student(lambda x: x, "float64")
    with pytest.raises(ValueError, match="TFLite does not compute in float64"):
        export_student(model, tmp_path / "export", samples=VALUES)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("head", "found"),
    [
        (ops.mean, r"'logits' of shape \(\)"),
        (lambda x: ops.mean(x, 0), r"'logits' of shape \(5,\)"),
        (lambda x: [x, ops.max(x)], r"'output_1' of shape \(\)"),
    ],
)
def test_no_batch_axis(head, found, tmp_path):
    with pytest.raises(ValueError, match=f"first axis of every output.*{found}"):
        export_student(student(head), tmp_path / "export", samples=VALUES)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("labels", [["yes"], ["no", "yes"]])
def test_labels_of_one_sigmoid_unit(labels, tmp_path):
    model = student(layers.Dense(1, "sigmoid"))
    folder = tmp_path / "export"
    manifest = export_student(model, folder, ["onnx"], samples=VALUES, labels=labels)
    assert manifest["labels"] == labels
    metadata = FORMATS["onnx"].read_metadata(folder / "student.onnx")
    assert metadata["labels"] == labels
    assert metadata["predictions"] == {
        "logits": {"kind": "threshold", "threshold": 0.5, "is_probability": True}
    }
    verify(folder, model, VALUES)


def test_three_labels_of_one_unit(tmp_path):
    model = student(layers.Dense(1, "sigmoid"))
    with pytest.raises(ValueError, match="takes one label or two.*3 labels"):
        export_student(model, tmp_path / "export", labels=["a", "b", "c"])


def test_labels_of_classes(tmp_path):
    """Their number is not in the shape."""
    names = ["a", "b", "c", "d", "e"]
    folder = tmp_path / "export"
    export_student(student(ArgMax()), folder, ["onnx"], samples=VALUES, labels=names)
    assert FORMATS["onnx"].read_metadata(folder / "student.onnx")["labels"] == names
