"""Every way in which an artifact can be wrong, with the words that say so.

Files are exchanged for wrong ones behind the manifest's back, so that nothing but the
file itself tells. Damage of intact files is in `test_verification.py`, wrong labels and
metadata in `test_metadata.py`.
"""

import json
import logging
import shutil

import keras
import numpy as np
import onnx
import pytest
import tf2onnx
from ai_edge_litert.tools import flatbuffer_utils

from keras_diffkd.export import (
    ExportError,
    VerificationError,
    export_student,
    verify,
)
from keras_diffkd.export.formats import FORMATS, onnx_float32
from keras_diffkd.export.records.fingerprints import fingerprint
from keras_diffkd.export.records.manifest import Manifest, write_manifest
from keras_diffkd.export.serving import serving as serving_module
from keras_diffkd.export.serving.serving import Serving

FAMILIES = ["saved_model", "onnx", "tflite"]


class Insistent(keras.layers.Layer):
    """Calls a layer in training mode, whatever it is told."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def call(self, x):
        return self.layer(x, training=True)


def classifier(*layers):
    """A student of the right interface, with these layers in its middle."""
    return keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            keras.layers.Conv2D(6, 3),
            *layers,
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(5),
        ]
    )


def exchange(folder, name, student):
    """Writes an artifact anew from another student, and says nothing of it."""
    kind = FORMATS[name]
    path = folder / kind.file
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    kind.write(Serving(student), path)
    kind.embed_metadata(path, Manifest.read(folder).metadata(kind))
    rehash(folder)


def edit_onnx(folder, edit):
    path = folder / "student.onnx"
    model = onnx.load(path)
    edit(model)
    path.write_bytes(model.SerializeToString())
    rehash(folder)


def rehash(folder, edit=lambda manifest: None):
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    for entry in manifest["artifacts"].values():
        entry.update(fingerprint(folder / entry["file"]))
    edit(manifest)
    write_manifest(folder, manifest)


def reasons(folder, student, images, name):
    """Returns the finding of verification about the one artifact that fails."""
    with pytest.raises(VerificationError) as error:
        verify(folder, student, images[:8])
    assert list(error.value.report["failures"]) == [FORMATS[name].file]
    return " | ".join(error.value.report["failures"][FORMATS[name].file])


@pytest.mark.parametrize("name", FAMILIES)
def test_output_that_is_not_finite(name, export_copy, student, images):
    exchange(export_copy, name, classifier(keras.layers.Lambda(keras.ops.log)))
    found = reasons(export_copy, student, images, name)
    assert "output 'logits' is not finite (NaN or infinity)" in found


@pytest.mark.parametrize("name", FAMILIES)
def test_output_that_is_constant(name, export_copy, student, images):
    same = keras.layers.Lambda(lambda x: 0 * x)
    exchange(export_copy, name, classifier(same))
    found = reasons(export_copy, student, images, name)
    assert "output 'logits' is constant" in found


@pytest.mark.parametrize(
    ("name", "layer", "operation"),
    [
        ("saved_model", keras.layers.Dropout(0.5), "StatelessRandomUniformV2"),
        ("saved_model", keras.layers.BatchNormalization(), "AssignVariableOp"),
        ("tflite", keras.layers.BatchNormalization(), "ASSIGN_VARIABLE"),
    ],
)
def test_training_mode(
    name, layer, operation, export_copy, student, images, monkeypatch
):
    monkeypatch.setattr(serving_module, "_check_inference", lambda *_: None)
    exchange(export_copy, name, classifier(Insistent(layer)))
    monkeypatch.undo()
    found = reasons(export_copy, student, images, name)
    assert f"is in training mode: its graph has {operation}" in found.replace(
        "AssignVariableOp, StatelessRandomGetKeyCounter, ", ""
    )


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("onnx", keras.layers.Dropout(0.5)),
        ("onnx", keras.layers.BatchNormalization()),
        ("tflite", keras.layers.Dropout(0.5)),
    ],
)
def test_training_mode_that_no_converter_writes(name, layer, tmp_path, monkeypatch):
    monkeypatch.setattr(serving_module, "_check_inference", lambda *_: None)
    with pytest.raises(ExportError, match=f"cannot be written as '{name}'"):
        export_student(classifier(Insistent(layer)), tmp_path / "export", [name])
    assert list(tmp_path.iterdir()) == []


def add_dropout(model):
    given = model.graph.output[0].name
    for name, value in (("ratio", 0.5), ("mode", True)):
        model.graph.initializer.append(
            onnx.numpy_helper.from_array(
                np.array(value, "float32" if name == "ratio" else "bool"), name
            )
        )
    model.graph.node.append(
        onnx.helper.make_node("Dropout", [given, "ratio", "mode"], ["dropped"])
    )


def add_batch_normalization(model):
    given = model.graph.output[0].name
    names = ["scale", "bias", "mean", "variance"]
    for name in names:
        array = np.ones(5, "float32")
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    model.graph.node.append(
        onnx.helper.make_node(
            "BatchNormalization",
            [given, *names],
            ["normal", "new_mean", "new_variance"],
            training_mode=1,
        )
    )


@pytest.mark.parametrize(
    ("edit", "operation"),
    [(add_dropout, "Dropout"), (add_batch_normalization, "BatchNormalization")],
)
def test_onnx_in_training_mode(edit, operation, export_copy, student, images):
    edit_onnx(export_copy, edit)
    found = reasons(export_copy, student, images, "onnx")
    assert found == f"is in training mode: its graph has {operation}"


def test_converter_that_only_logs_an_error(student, tmp_path, monkeypatch):
    convert = tf2onnx.convert.from_graph_def

    def logging_convert(*args, **kwargs):
        logging.getLogger("tf2onnx.tfonnx").error("cannot convert Zeta")
        return convert(*args, **kwargs)

    monkeypatch.setattr(tf2onnx.convert, "from_graph_def", logging_convert)
    with pytest.raises(ExportError, match="'onnx'.*tf2onnx reports: cannot convert Ze"):
        export_student(student, tmp_path / "export", ["onnx"])
    assert list(tmp_path.iterdir()) == []


def test_converter_that_says_nothing_of_an_invalid_file(student, tmp_path, monkeypatch):
    convert = onnx_float32._convert

    def forgetful_convert(*args):
        model = convert(*args)
        del model.graph.node[0]
        return model

    monkeypatch.setattr(onnx_float32, "_convert", forgetful_convert)
    with pytest.raises(ExportError, match="'onnx'.*the graph that was written is inva"):
        export_student(student, tmp_path / "export", ["onnx"])
    assert list(tmp_path.iterdir()) == []


def test_invalid_onnx(export_copy, student, images):
    edit_onnx(export_copy, lambda model: model.graph.node.pop(0))
    found = reasons(export_copy, student, images, "onnx")
    assert found.startswith("does not run: ")
    assert " | invalid ONNX: " in found


def test_operation_that_the_interpreter_lacks(export_copy, student, images):
    path = export_copy / "student.tflite"
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(path.read_bytes()))
    custom = flatbuffer_utils.BuiltinOperator.CUSTOM
    code = model.operatorCodes[0]
    code.builtinCode = code.deprecatedBuiltinCode = custom
    code.customCode = "FlexErfinv"
    path.write_bytes(flatbuffer_utils.convert_object_to_bytearray(model))
    rehash(export_copy)
    found = reasons(export_copy, student, images, "tflite")
    assert found.startswith("does not run: ")
    assert "does not have (Flex or custom): FlexErfinv" in found


def test_extra_input(export_copy, student, images):
    def add_input(model):
        value = onnx.helper.make_tensor_value_info("mean", 1, [2])
        model.graph.input.append(value)

    edit_onnx(export_copy, add_input)
    found = reasons(export_copy, student, images, "onnx")
    assert "wrong inputs: expected image [None, 6, 6, 2] float32, found" in found
    assert found.endswith("mean [2] float32")


def test_implausibly_small_file(export_copy, helpers, images):
    """With fewer weights than the student has; of the right interface all the same."""
    wide = helpers.make_student()
    wide = keras.Sequential(
        [wide, keras.layers.Dense(400, activation="relu"), keras.layers.Dense(5)]
    )
    wide.build((None, 6, 6, 2))
    folder = export_copy.parent / "wide"
    export_student(wide, folder, ["onnx"])
    exchange(folder, "onnx", helpers.make_student())
    found = reasons(folder, wide, images, "onnx")
    assert "implausibly small: " in found
    assert "; weights are missing" in found


@pytest.mark.parametrize(
    ("kind", "key", "value", "expected"),
    [
        ("inputs", "shape", [None, 6, 6, 3], "image [None, 6, 6, 3] float32, found"),
        ("inputs", "dtype", "uint8", "image [None, 6, 6, 2] uint8, found"),
        ("inputs", "name", "pixels", "pixels [None, 6, 6, 2] float32, found image"),
        ("outputs", "shape", [None, 4], "logits [None, 4] float32, found"),
        ("outputs", "dtype", "int64", "logits [None, 5] int64, found"),
    ],
)
def test_interface_of_the_manifest(
    kind, key, value, expected, export_copy, student, images
):
    def change(manifest):
        manifest["artifacts"]["onnx"][kind][0][key] = value

    rehash(export_copy, change)
    found = reasons(export_copy, student, images, "onnx")
    assert f"wrong {kind}: expected {expected}" in found
