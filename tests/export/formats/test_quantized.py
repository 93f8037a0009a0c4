"""Quantized and float16 artifacts of a classifier that was trained on real digits."""

import json

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from helpers.quantizing_here import quantizing_here

from keras_diffkd import datasets
from keras_diffkd.export import VerificationError, export_student, format_table, verify
from keras_diffkd.export.formats import FORMATS
from keras_diffkd.export.records.manifest import Manifest
from keras_diffkd.models import build_model

ALL = list(FORMATS)


@pytest.fixture(scope="module")
def digits(data_dir):
    return datasets.load_classification(
        "digits", data_dir=data_dir, batch_size=64, augment="none"
    )


def train_teacher(digits):
    """The larger of the two models for digits: 103 thousand weights."""
    model = build_model("digits_teacher", digits.image_shape, 10)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.003), loss)
    model.fit(digits.train, epochs=2, steps_per_epoch=21, shuffle=False, verbose=0)
    return model


def read_pixels(images, normalization):
    pixels = images.astype("float64") * normalization["std"] + normalization["mean"]
    pixels *= 255
    assert np.abs(pixels - np.rint(pixels)).max() < 1e-3
    return np.rint(pixels).astype("uint8")


def run_tflite(path, pixels):
    runner = Interpreter(str(path)).get_signature_runner()
    return np.concatenate([runner(image=image[None])["logits"] for image in pixels])


def run_onnx(path, pixels):
    session = onnxruntime.InferenceSession(str(path))
    return session.run(["logits"], {"image": pixels})[0]


def run_saved_model(path, pixels):
    signature = tf.saved_model.load(str(path)).signatures["serving_default"]
    return signature(image=tf.constant(pixels))["logits"].numpy()


RUN = {"saved_model": run_saved_model, "onnx": run_onnx, "tflite": run_tflite}


def test_all_formats(digits, tmp_path, monkeypatch):
    """One test, since the workers of pytest-xdist would each train and export."""
    folder, teacher = tmp_path / "export", train_teacher(digits)
    images, labels = next(iter(digits.test.unbatch().batch(1000)))
    samples = (images.numpy(), labels.numpy())
    pixels = read_pixels(samples[0], digits.normalization)

    manifest = export_student(
        teacher,
        folder,
        ["saved_model", "onnx", "tflite", "tflite_float16", "tflite_dynamic"],
        quantize="int8",
        input="uint8",
        samples=samples,
        calibration_samples=samples[0][:100],
        labels=digits.label_names,
        normalization=digits.normalization,
    )

    assert set(manifest["artifacts"]) == set(ALL)
    for name in ALL:
        check_raw_pixels(name, folder, teacher, samples, pixels, manifest)
    check_sizes(manifest)
    check_full_int8(folder, manifest)
    check_int8_onnx_keeps_the_pixels_exact(folder)
    few = tuple(part[:64] for part in samples)
    check_verification_on_pixels_and_on_images(folder, teacher, few, pixels[:64])
    check_another_student(folder, digits, few)
    check_slower_than_float32(folder, teacher, few, manifest, monkeypatch)
    check_wrong_scale_in_the_manifest(folder, teacher, few, monkeypatch)


def check_raw_pixels(name, folder, teacher, samples, pixels, manifest):
    images, labels = samples
    expected = teacher(images, training=False).numpy()
    kind = FORMATS[name]

    outputs = RUN[kind.names["float32"]](folder / kind.file, pixels)

    found = manifest["artifacts"][name]
    assert found["precision"] == kind.precision
    accuracy = np.mean(outputs.argmax(-1) == labels)
    assert accuracy >= np.mean(expected.argmax(-1) == labels) - 0.005
    assert found["verification"]["accuracy"] == pytest.approx(accuracy)
    assert found["verification"]["agreement"] > 0.98
    if kind.precision == "float32":
        np.testing.assert_allclose(outputs, expected, atol=1e-4, rtol=0)
    if kind.precision == "float16":
        np.testing.assert_allclose(outputs, expected, atol=0.05, rtol=0)


def check_sizes(manifest):
    sizes = {name: entry["size"] for name, entry in manifest["artifacts"].items()}
    assert sizes["tflite_int8"] <= 0.3 * sizes["tflite"]
    assert sizes["tflite_dynamic"] <= 0.3 * sizes["tflite"]
    assert sizes["tflite_float16"] <= 0.55 * sizes["tflite"]
    assert sizes["onnx_int8"] <= 0.35 * sizes["onnx"]


def check_full_int8(folder, manifest):
    interpreter = Interpreter(
        str(folder / "student_int8.tflite"), experimental_preserve_all_tensors=True
    )
    interpreter.allocate_tensors()
    dtypes = {np.dtype(d["dtype"]).name for d in interpreter.get_tensor_details()}
    assert dtypes <= {"int8", "uint8", "int32"}
    entry = manifest["artifacts"]["tflite_int8"]
    [spec] = entry["inputs"]
    assert spec["dtype"] == "uint8"
    assert spec["quantization"] == {"scale": 1.0, "zero_point": 0}
    [spec] = entry["outputs"]
    assert spec["dtype"] == "int8"
    [details] = interpreter.get_output_details()
    scale, zero_point = details["quantization"]
    assert spec["quantization"]["scale"] == pytest.approx(scale)
    assert spec["quantization"]["zero_point"] == zero_point
    assert entry["quantization"]["calibration"] == {
        "num_samples": 100,
        "samples": "given",
    }


def check_int8_onnx_keeps_the_pixels_exact(folder):
    graph = onnx.load(folder / "student_int8.onnx").graph
    operations = [node.op_type for node in graph.node]
    first = operations.index("QuantizeLinear")
    assert {"Cast", "Mul", "Sub"} <= set(operations[:first])
    assert "Conv" in operations[first:]
    per_channel = [t for t in graph.initializer if t.name.endswith("_scale") and t.dims]
    assert max(tensor.dims[0] for tensor in per_channel) > 1
    types = {t.data_type for t in graph.initializer if t.name.endswith("_zero_point")}
    assert {onnx.TensorProto.UINT8, onnx.TensorProto.INT8} <= types


def check_verification_on_pixels_and_on_images(folder, teacher, samples, pixels):
    for images in (samples[0], pixels):
        report = verify(folder, teacher, (images, samples[1]))
        assert set(report["artifacts"]) == set(ALL)
        assert report["artifacts"]["onnx"]["max_difference"] <= 1e-4
    assert report["artifacts"]["onnx_int8"]["precision"] == "int8"
    assert "student_int8.tflite" in format_table(report)


def check_wrong_scale_in_the_manifest(folder, teacher, samples, monkeypatch):
    read = json.loads((folder / "manifest.json").read_text())
    read["artifacts"]["tflite_int8"]["outputs"][0]["quantization"]["zero_point"] += 1
    monkeypatch.setattr(
        "keras_diffkd.export.proof.verification.Manifest.read",
        lambda folder: Manifest.from_json(read),
    )
    with pytest.raises(VerificationError, match="wrong outputs: .*zero_point") as error:
        verify(folder, teacher, samples)
    assert set(error.value.report["failures"]) == {"student_int8.tflite"}


def check_slower_than_float32(folder, teacher, samples, manifest, monkeypatch):
    slow = {"onnx": 1.0, "tflite": 2.0, "onnx_int8": 1.2, "tflite_int8": 2.1}
    latencies = iter([slow.get(name, 0.5) for name in manifest["artifacts"]])
    with monkeypatch.context() as patch:
        patch.setattr(
            "keras_diffkd.export.proof.artifact.latency_ms", lambda *_: next(latencies)
        )
        report = verify(folder, teacher, samples)
    # A tenth more is what a short measurement may be off.
    assert report["warnings"] == [
        "student_int8.onnx is slower than float32 here: 1.200 ms instead of 1.000 ms"
    ]


def check_another_student(folder, digits, samples):
    other = build_model("digits_teacher", digits.image_shape, 10)
    with pytest.raises(VerificationError) as error:
        verify(folder, other, (samples[0], other(samples[0]).numpy().argmax(-1)))
    assert len(error.value.report["failures"]) == len(ALL)
    assert "'accuracy' is" in error.value.report["failures"]["student_int8.onnx"][0]
    assert any("weights are not those" in w for w in error.value.report["warnings"])


def test_quantized_metric_that_is_too_low(student, images, tmp_path):
    values = iter([0.5, 0.5, 0.494])
    with pytest.raises(VerificationError, match="0.0060 below the Keras student's"):
        export_student(
            student,
            tmp_path / "export",
            ["onnx"],
            quantize="int8",
            samples=(images, np.zeros(len(images))),
            metrics=lambda outputs, targets: {"mAP": next(values)},
        )
    assert list(tmp_path.iterdir()) == []


def test_small_student_of_normalized_images(digits, tmp_path, rng):
    """Little of a small file is weights; random calibration is warned of."""
    student = build_model("digits_student", digits.image_shape, 10)

    with quantizing_here():
        manifest = export_student(
            student, tmp_path / "export", ["tflite"], quantize="int8"
        )

    int8 = manifest["artifacts"]["tflite_int8"]
    assert 0.5 < int8["size"] / manifest["artifacts"]["tflite"]["size"] < 0.95
    assert int8["inputs"][0]["dtype"] == "int8"
    assert int8["inputs"][0]["quantization"]["scale"] > 0
    [warning] = manifest["warnings"]
    assert "calibrated on random inputs" in warning
    assert "without targets" in int8["verification"]["warnings"][0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input": "uint8"}, "normalization={'mean'"),
        ({"input": "int8"}, "'float32'.*or 'uint8'.*Received: input='int8'"),
        ({"quantize": "int4"}, "None or 'int8'"),
        ({"quantize": "int8", "formats": ["saved_model"]}, "needs 'onnx' or 'tflite'"),
        ({"quantized_tolerance": -1}, "quantized_tolerance=-1"),
        (
            {"quantize": "int8", "calibration_samples": np.zeros((3, 5, 5, 2))},
            r"Expected: \(None, 6, 6, 2\)",
        ),
    ],
)
def test_unusable_arguments_write_nothing(arguments, message, student, tmp_path):
    with pytest.raises(ValueError, match=message):
        export_student(student, tmp_path / "export", **arguments)
    assert list(tmp_path.iterdir()) == []
