import json
import os

import keras
import numpy as np
import onnxruntime
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from keras_diffkd.export import (
    ExportError,
    VerificationError,
    export_student,
    verify,
)
from keras_diffkd.export.formats import FORMATS
from keras_diffkd.export.formats.onnx import ONNX
from keras_diffkd.export.records.folder import only_writer
from keras_diffkd.export.serving.serving import Serving


def run_saved_model(folder, images):
    model = tf.saved_model.load(str(folder / "saved_model"))
    outputs = model.signatures["serving_default"](image=tf.constant(images))
    return outputs["logits"].numpy()


def run_onnx(folder, images):
    session = onnxruntime.InferenceSession(str(folder / "student.onnx"))
    return session.run(["logits"], {"image": images})[0]


def run_tflite(folder, images):
    interpreter = Interpreter(str(folder / "student.tflite"))
    runner = interpreter.get_signature_runner()
    return np.concatenate([runner(image=image[None])["logits"] for image in images])


@pytest.mark.parametrize("run", [run_saved_model, run_onnx, run_tflite])
def test_artifacts_compute_what_the_student_does(
    run, exported, student, images, helpers
):
    expected = student(images, training=False).numpy()
    # Another one, because training mode moves the statistics.
    in_training = helpers.make_student()(images, training=True).numpy()
    assert np.abs(expected - in_training).max() > 0.01

    outputs = run(exported, images)

    np.testing.assert_allclose(outputs, expected, atol=1e-4, rtol=0)
    np.testing.assert_array_equal(outputs.argmax(-1), expected.argmax(-1))
    assert len(set(expected.argmax(-1))) > 1


def test_manifest(exported, student, helpers):
    manifest = json.loads((exported / "manifest.json").read_text())

    assert list(manifest["artifacts"]) == ["saved_model", "onnx", "tflite"]
    assert manifest["student"]["parameters"] == student.count_params()
    assert manifest["labels"] == helpers.labels
    assert manifest["normalization"] == helpers.normalization
    assert manifest["source"] == {"experiment": "small", "run_dir": "runs/small"}
    assert manifest["inputs"] == [
        {"name": "image", "shape": [None, 6, 6, 2], "dtype": "float32"}
    ]
    assert manifest["artifacts"]["tflite"]["outputs"] == [
        {"name": "logits", "shape": [1, 5], "dtype": "float32"}
    ]
    assert manifest["versions"]["keras"] == keras.__version__
    assert manifest["verification"]["num_samples"] == 150
    hashes = helpers.hash_files(exported)
    for entry in manifest["artifacts"].values():
        assert entry["verification"]["max_difference"] <= 1e-4
        assert entry["verification"]["agreement"] == 1.0
        path = exported / entry["file"]
        if path.is_file():
            assert entry["size"] == path.stat().st_size
            assert entry["sha256"] == hashes.pop(entry["file"])
        else:
            for name, file in entry["files"].items():
                assert file["sha256"] == hashes.pop(f"{entry['file']}/{name}")
    assert set(hashes) == {"manifest.json", "report.json"}


def test_nothing_is_left_beside_the_export(exported):
    assert [path.name for path in exported.parent.iterdir()] == ["export"]


def test_quiet_and_the_student_is_unchanged(helpers, tmp_path, capfd):
    student = helpers.make_student()
    before = student.get_weights()
    capfd.readouterr()  # TensorFlow's greetings, if the model was the first of all.

    export_student(student, tmp_path / "export")

    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err == ""
    for old, new in zip(before, student.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_hard_layers_after_training_with_jit(tmp_path, rng):
    """Known to leak training mode, become extra inputs or lack an ONNX operator."""
    normalization = keras.layers.Normalization()
    normalization.adapt(rng.normal(3, 2, (64, 6, 6, 40)))
    student = keras.Sequential(
        [
            keras.Input((6, 6, 40)),
            normalization,
            keras.layers.RandomFlip(),
            keras.layers.Resizing(8, 8),
            keras.layers.Conv2D(8, 3, groups=4),
            keras.layers.BatchNormalization(),
            keras.layers.Activation(lambda x: keras.ops.gelu(x, approximate=False)),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(3),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    student.compile("sgd", loss, jit_compile=True)
    images = rng.normal(3, 2, (32, 6, 6, 40)).astype("float32")
    student.fit(images, rng.integers(0, 3, 32), batch_size=16, verbose=0)

    export_student(student, tmp_path / "export", samples=images)

    expected = student(images, training=False).numpy()
    for run in (run_saved_model, run_onnx, run_tflite):
        outputs = run(tmp_path / "export", images)
        np.testing.assert_allclose(outputs, expected, atol=1e-4, rtol=0)


class Subclassed(keras.Model):
    """Its `call` neither takes `training` nor are its shapes declared anywhere."""

    def __init__(self):
        super().__init__()
        self.hidden = keras.layers.Conv2D(3, 3)
        self.norm = keras.layers.BatchNormalization()
        self.classifier = keras.layers.Dense(4)

    def call(self, x):
        x = self.norm(self.hidden(x))
        return self.classifier(keras.ops.mean(x, axis=(1, 2)))


def test_subclassed_model(helpers, tmp_path, images):
    student = Subclassed()
    student(images[:3])
    helpers.randomize(student)

    manifest = export_student(student, tmp_path / "export")

    assert manifest["inputs"][0]["shape"] == [None, 6, 6, 2]
    np.testing.assert_allclose(
        run_onnx(tmp_path / "export", images),
        student(images, training=False).numpy(),
        atol=1e-4,
    )


def test_several_inputs_and_outputs_keep_their_names(helpers, tmp_path, rng):
    left = keras.Input((4,), name="left")
    right = keras.Input((3,), name="right")
    joined = keras.layers.Concatenate()([left, right])
    student = keras.Model(
        [right, left],
        [
            keras.layers.Dense(2, name="coarse")(joined),
            keras.layers.Dense(3, name="fine")(joined),
        ],
    )
    helpers.randomize(student)
    inputs = [rng.standard_normal((8, size)).astype("float32") for size in (3, 4)]

    manifest = export_student(student, tmp_path / "export", samples=inputs)

    assert [spec["name"] for spec in manifest["inputs"]] == ["right", "left"]
    assert [spec["name"] for spec in manifest["outputs"]] == ["coarse", "fine"]
    session = onnxruntime.InferenceSession(str(tmp_path / "export" / "student.onnx"))
    outputs = session.run(["coarse", "fine"], {"right": inputs[0], "left": inputs[1]})
    for output, expected in zip(outputs, student(inputs), strict=True):
        np.testing.assert_allclose(output, expected, atol=1e-4)


def test_one_input_and_two_outputs_keep_their_names(helpers, tmp_path):
    inputs = keras.Input((4,), name="features")
    student = keras.Model(
        inputs, {"head": keras.layers.Dense(2)(inputs), "aux": inputs * 2.0}
    )

    manifest = export_student(helpers.randomize(student), tmp_path / "export")

    assert [spec["name"] for spec in manifest["inputs"]] == ["features"]
    assert {spec["name"] for spec in manifest["outputs"]} == {"head", "aux"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"formats": ["onnx", "coreml"]}, "coreml"),
        ({"formats": []}, "at least one"),
        ({"formats": "onnx,tflite"}, "a list"),
        ({"opset": 21}, "17 or 18"),
        ({"labels": ["a", "b"]}, "2 labels"),
        ({"labels": [1, 2, 3, 4, 5]}, "strings"),
        ({"normalization": [0.5]}, "normalization"),
        ({"source": {"weights": np.zeros(2)}}, "JSON"),
        ({"samples": np.zeros((3, 5, 5, 2))}, r"Expected: \(None, 6, 6, 2\)"),
    ],
)
def test_unusable_arguments_write_nothing(arguments, message, student, tmp_path):
    with pytest.raises(ValueError, match=message):
        export_student(student, tmp_path / "export", **arguments)
    assert list(tmp_path.iterdir()) == []


def test_weights_that_are_not_finite_are_refused(helpers, tmp_path):
    student = helpers.make_student()
    kernel = student.layers[-1].kernel
    kernel.assign(kernel * np.nan)

    with pytest.raises(ValueError, match="classes/kernel"):
        export_student(student, tmp_path / "export")
    assert list(tmp_path.iterdir()) == []


def test_outputs_that_are_not_finite_are_refused(tmp_path):
    student = keras.Sequential(
        [keras.Input((4,)), keras.layers.Lambda(lambda x: keras.ops.log(x))]
    )
    with pytest.raises(ValueError, match="itself gives NaN"):
        export_student(student, tmp_path / "export", ["onnx"])
    assert list(tmp_path.iterdir()) == []


def test_outputs_that_are_all_the_same_prove_nothing(tmp_path):
    student = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(2, kernel_initializer="zeros")]
    )
    with pytest.raises(ValueError, match="the same output for all 64 samples"):
        export_student(student, tmp_path / "export", ["onnx"])


def test_missing_package_is_named_before_anything_is_written(
    student, tmp_path, monkeypatch
):
    monkeypatch.setitem(__import__("sys").modules, "tf2onnx", None)

    with pytest.raises(ImportError, match=r"tf2onnx.*pip install '.\[export"):
        export_student(student, tmp_path / "export", ["onnx"])
    assert list(tmp_path.iterdir()) == []
    # Only the format that needs it.
    export_student(student, tmp_path / "export", ["tflite"])


def test_an_export_adds_to_one_of_the_same_student(
    student, helpers, export_copy, images
):
    before = helpers.hash_files(export_copy)
    source = {"experiment": "small", "run_dir": "elsewhere"}
    given = {"labels": helpers.labels, "normalization": helpers.normalization}
    manifest = export_student(
        student, export_copy, ["tflite_dynamic", "onnx"], source=source, **given
    )
    assert list(manifest["artifacts"]) == [
        name for name in FORMATS if (export_copy / FORMATS[name].file).exists()
    ]
    assert set(manifest["artifacts"]) > {"tflite", "saved_model", "tflite_dynamic"}
    after = helpers.hash_files(export_copy)
    assert after["student.tflite"] == before["student.tflite"]
    # Files, manifest and report are of one export, for whoever verifies it later.
    report = verify(export_copy, student, images, quantized_tolerance=1)
    assert list(report["artifacts"]) == list(manifest["artifacts"])
    written = json.loads((export_copy / "report.json").read_text())
    assert list(written["artifacts"]) == list(manifest["artifacts"])


def test_an_export_of_another_student_removes_files_only_if_told(
    helpers, export_copy, images
):
    other = helpers.make_student(seed=7)
    source, before = {"experiment": "small"}, helpers.hash_files(export_copy)
    message = r"student\.tflite of another student .*different: student.*replace=True"
    with pytest.raises(ValueError, match=message):
        export_student(other, export_copy, ["onnx"], source=source)
    assert helpers.hash_files(export_copy) == before

    export_student(other, export_copy, ["onnx"], source=source, replace=True)
    assert sorted(path.name for path in export_copy.iterdir()) == [
        "manifest.json",
        "report.json",
        "student.onnx",
    ]
    verify(export_copy, other, images)
    assert [path.name for path in export_copy.parent.iterdir()] == ["export"]


def test_one_process_exports_into_a_folder(student, tmp_path):
    refused = pytest.raises(ValueError, match="Another process exports to .*export")
    with only_writer(tmp_path / "export"), refused:
        export_student(student, tmp_path / "export", ["onnx"])
    assert os.listdir(tmp_path) == []


class Erfinv(keras.layers.Layer):
    """An operation that neither ONNX nor the TFLite interpreter has."""

    def call(self, x):
        return keras.ops.erfinv(keras.ops.tanh(x))


@pytest.mark.parametrize("format", ["onnx", "tflite"])
def test_failed_conversion_leaves_the_old_export(format, export_copy, helpers):
    before = helpers.hash_files(export_copy)
    student = keras.Sequential([keras.Input((4,)), Erfinv(), keras.layers.Dense(2)])

    with pytest.raises(ExportError, match=rf"'{format}'.*Erfinv"):
        export_student(
            student,
            export_copy,
            ["saved_model", format],
            source={"experiment": "small"},
            replace=True,
        )

    assert helpers.hash_files(export_copy) == before
    assert [path.name for path in export_copy.parent.iterdir()] == ["export"]


def test_failed_verification_leaves_the_old_export(
    student, export_copy, helpers, monkeypatch
):
    before = helpers.hash_files(export_copy)
    other = Serving(helpers.make_student(seed=7))
    write = ONNX.write
    monkeypatch.setattr(
        ONNX,
        "write",
        lambda kind, serving, path, **options: write(kind, other, path, **options),
    )

    with pytest.raises(VerificationError, match=r"student\.onnx: out of tolerance"):
        export_student(student, export_copy, source={"experiment": "small"})

    assert helpers.hash_files(export_copy) == before
    assert [path.name for path in export_copy.parent.iterdir()] == ["export"]


@pytest.mark.parametrize("fails_at", [0, 1])
def test_interrupted_swap_leaves_the_old_export(
    fails_at, student, export_copy, helpers, monkeypatch
):
    before = helpers.hash_files(export_copy)
    replace = os.replace
    calls = []

    def interrupted(source, target):
        calls.append(source)
        if len(calls) == fails_at + 1:
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        export_student(
            student,
            export_copy,
            ["saved_model"],
            source={"experiment": "small"},
            replace=True,
        )

    assert helpers.hash_files(export_copy) == before
    assert [path.name for path in export_copy.parent.iterdir()] == ["export"]
