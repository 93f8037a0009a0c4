import json

import onnx
import pytest

from keras_diffkd.export import export_student


def test_interface_metadata_and_validity(exported, helpers):
    model = onnx.load(exported / "student.onnx")

    onnx.checker.check_model(model, full_check=True)
    onnx.shape_inference.infer_shapes(model, strict_mode=True)
    for values, name, shape in (
        (model.graph.input, "image", ["batch", 6, 6, 2]),
        (model.graph.output, "logits", ["batch", 5]),
    ):
        (value,) = values
        assert value.name == name
        dimensions = value.type.tensor_type.shape.dim
        assert [d.dim_param or d.dim_value for d in dimensions] == shape
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 17)]
    metadata = {entry.key: json.loads(entry.value) for entry in model.metadata_props}
    manifest = json.loads((exported / "manifest.json").read_text())
    assert metadata == {
        "labels": helpers.labels,
        "normalization": helpers.normalization,
        "precision": "float32",
        **{
            key: manifest[key]
            for key in ("student", "input", "predictions", "source", "versions")
        },
    }


@pytest.mark.parametrize("opset", [18])
def test_opset(opset, student, tmp_path):
    export_student(student, tmp_path / "export", ["onnx"], opset=opset)

    model = onnx.load(tmp_path / "export" / "student.onnx")
    assert [(o.domain, o.version) for o in model.opset_import] == [("", opset)]
    assert "labels" not in {entry.key for entry in model.metadata_props}
