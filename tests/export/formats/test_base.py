"""A format is one class: a new one, in one place, is written and verified."""

import ast
import json
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_diffkd.export import VerificationError, export_student, verify
from keras_diffkd.export.formats import DEFAULT, FORMATS, KINDS
from keras_diffkd.export.formats.base import Format, Runner
from keras_diffkd.export.serving.tensors import TensorInfo

EXPORT = Path(__file__).parents[3] / "export"


class NumpyFile(Format):
    """The weights of a student of one dense layer."""

    names = {"float32": "numpy"}
    extension = ".json"

    def write(self, serving, path, *, opset=17, calibration=None):
        kernel, bias = (w.tolist() for w in serving.student.get_weights())
        tensors = {
            kind: [tensor.to_json() for tensor in found]
            for kind, found in zip(
                ("inputs", "outputs"), self.describe(serving, path), strict=True
            )
        }
        path.write_text(json.dumps({"kernel": kernel, "bias": bias, **tensors}))

    def open(self, path):
        return NumpyRunner(json.loads(path.read_text()))

    def inspect(self, path):
        return [] if "kernel" in json.loads(path.read_text()) else ["has no kernel"]

    def embed_metadata(self, path, metadata):
        content = json.loads(path.read_text())
        path.write_text(json.dumps({**content, "metadata": metadata}))

    def read_metadata(self, path):
        return json.loads(path.read_text()).get("metadata", {})


class NumpyRunner(Runner):
    def __init__(self, content):
        self.content = content
        self.inputs, self.outputs = (
            [TensorInfo.from_json(entry) for entry in content[kind]]
            for kind in ("inputs", "outputs")
        )

    def run(self, arrays):
        kernel, bias = (
            np.array(self.content[k], "float32") for k in ("kernel", "bias")
        )
        return {"logits": arrays["image"] @ kernel + bias}


@pytest.fixture
def student():
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])


def test_a_new_format_is_a_class(student, tmp_path, monkeypatch):
    monkeypatch.setitem(FORMATS, "numpy", NumpyFile())
    folder = tmp_path / "export"
    manifest = export_student(student, folder, ["numpy"], labels=["a", "b", "c"])
    assert manifest["artifacts"]["numpy"]["file"] == "student.json"
    assert manifest["artifacts"]["numpy"]["verification"]["agreement"] == 1.0
    assert json.loads((folder / "student.json").read_text())["metadata"]["labels"]
    assert verify(folder, student, None)["artifacts"]["numpy"]["ok"]

    student.layers[-1].bias.assign([1.0, 0.0, 0.0])
    with pytest.raises(VerificationError, match="student.json: out of tolerance"):
        verify(folder, student, None)


def test_every_format_has_a_name_and_a_file_of_its_own():
    formats = [kind(precision) for kind in KINDS for precision in kind.names]
    assert {each.name for each in formats} == set(FORMATS)
    assert len({each.file for each in formats}) == len(formats)
    assert DEFAULT == ("saved_model", "onnx", "tflite")
    for each in formats:
        is_quantized = each.precision in ("int8", "dynamic_int8")
        assert is_quantized == (each.precision in each.quantization)


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    monkeypatch.setattr(NumpyFile, "runs_with", ("no_such_runtime",))
    with pytest.raises(ImportError, match=r"'numpy' needs no_such_runtime.*\[export\]"):
        NumpyFile().require_packages(writing=False)


def test_no_format_is_named_outside_its_folder():
    """Beside the page, which runs the ONNX file."""
    names = {*FORMATS} - {"saved_model"}
    for path in EXPORT.rglob("*.py"):
        folder = path.relative_to(EXPORT).parts[0]
        if folder in ("formats", "web", "examples"):
            continue
        found = {
            node.value
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
        assert not names & found, path
