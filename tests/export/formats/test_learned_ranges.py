"""int8 files of ranges from training compute what Keras has simulated."""

import json
import re

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
from ai_edge_litert.interpreter import Interpreter
from helpers.observed_ranges import observe
from keras import layers

from keras_diffkd import datasets
from keras_diffkd.export import VerificationError, export_student, format_table, verify
from keras_diffkd.quantization import QuantizationRanges, SimulatedStudent

INT8 = ["onnx_int8", "tflite_int8"]
# Three images can decide an accuracy, so the tests measure steps.
LOOSE = 0.05


def make_network():
    """All that converters treat in a way of its own."""

    def block(x, kernel, **options):
        x = layers.BatchNormalization(momentum=0.8)(
            kernel(use_bias=False, padding="same")(x)
        )
        return layers.ReLU(**options)(x)

    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 1), name="image")
    first = block(image, lambda **o: layers.Conv2D(16, 3, **o), max_value=6)
    x = block(first, lambda **o: layers.DepthwiseConv2D(3, **o), max_value=6)
    x = layers.Conv2D(16, 1, use_bias=False)(x)
    x = layers.Add()([layers.BatchNormalization(momentum=0.8)(x), first])
    one = block(x, lambda **o: layers.Conv2D(8, 1, **o))
    two = layers.SeparableConv2D(12, 3, padding="same", activation="relu")(x)
    x = layers.MaxPooling2D(2)(layers.Concatenate()([one, two]))
    x = layers.Conv2DTranspose(8, 2, strides=2, activation="relu")(x)
    x = layers.Conv2D(16, 3, strides=2, activation="relu")(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, layers.Dense(10, name="digit")(x), name="network")


@pytest.fixture(scope="module")
def digits(data_dir):
    return datasets.load_classification(
        "digits", data_dir=data_dir, batch_size=64, augment="none"
    )


@pytest.fixture(scope="module")
def samples(digits):
    images, labels = next(iter(digits.test.unbatch().batch(1000)))
    return images.numpy(), labels.numpy()


@pytest.fixture(scope="module")
def student(digits):
    model = make_network()
    _, norm, *_ = (
        layer for layer in model.layers if isinstance(layer, layers.BatchNormalization)
    )

    def train():
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        rate = keras.optimizers.schedules.CosineDecay(0.01, 105)
        model.compile(keras.optimizers.Adam(rate), loss)
        model.fit(digits.train, epochs=5, steps_per_epoch=21, shuffle=False, verbose=0)

    train()
    # Weight decay leaves such channels; their biases must arrive.
    norm.gamma.assign([0.0, 1e-37, 1e-12, 1e-6, *norm.gamma[4:]])
    norm.trainable = False
    train()
    return model


@pytest.fixture(scope="module")
def ranges(student, digits):
    images, _ = next(iter(digits.train.unbatch().batch(256)))
    return observe(student, images.numpy())


@pytest.fixture(scope="module")
def folder(student, ranges, digits, samples, tmp_path_factory):
    """An export of raw pixels, which no test changes."""
    folder = tmp_path_factory.mktemp("learned") / "export"
    export_student(
        student,
        folder,
        ["onnx", "tflite"],
        quantize="int8",
        ranges=ranges,
        input="uint8",
        samples=samples,
        normalization=digits.normalization,
        quantized_tolerance=LOOSE,
    )
    return folder


def pixels_of(samples, digits):
    images = samples[0] * digits.normalization["std"] + digits.normalization["mean"]
    return np.rint(images * 255).astype("uint8")


def run_tflite(path, pixels):
    interpreter = Interpreter(str(path))
    runner = interpreter.get_signature_runner()
    [details] = runner.get_output_details().values()
    scale, zero_point = details["quantization"]
    found = [runner(image=image[None])["logits"][0] for image in pixels]
    return (np.array(found, "float32") - zero_point) * scale, scale


def run_onnx(path, pixels):
    [*_, last] = onnx.load(path).graph.node
    scales = {t.name: t for t in onnx.load(path).graph.initializer}
    session = onnxruntime.InferenceSession(str(path))
    outputs = session.run(["logits"], {"image": pixels})[0]
    return outputs, onnx.numpy_helper.to_array(scales[last.input[1]]).item()


@pytest.mark.parametrize("run", [run_tflite, run_onnx])
def test_runtimes_compute_what_was_simulated(
    run, folder, student, ranges, samples, digits
):
    """Runs the files in their runtimes, which know nothing of Keras."""
    name = {run_tflite: "student_int8.tflite", run_onnx: "student_int8.onnx"}[run]
    expected = SimulatedStudent(student, ranges)(samples[0]).numpy()

    outputs, step = run(folder / name, pixels_of(samples, digits))

    steps = np.abs(outputs - expected) / step
    # Without biases as the files round them, 0.1.
    assert steps.mean() < 0.03
    assert steps.max() < 2.5
    assert np.sum(outputs.argmax(-1) != expected.argmax(-1)) <= 1  # Of 445.
    low, high = ranges.minimums_maximums["digit"]
    assert step == pytest.approx((high - low) / 255, rel=1e-5)
    # Rounded activations are not those of the float student.
    unrounded = student(samples[0], training=False).numpy()
    assert np.abs(unrounded - expected).mean() > 0.3 * step


def test_the_files_compute_in_integers(folder, tmp_path):
    interpreter = Interpreter(
        str(folder / "student_int8.tflite"), experimental_preserve_all_tensors=True
    )
    interpreter.allocate_tensors()
    found = interpreter.get_tensor_details()
    dtypes = {np.dtype(tensor["dtype"]).name for tensor in found}
    assert dtypes <= {"int8", "uint8", "int32"}
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 4
    onnxruntime.InferenceSession(str(folder / "student_int8.onnx"), options)
    nodes = onnx.load(options.optimized_model_filepath).graph.node
    operations = [node.op_type for node in nodes]
    assert operations.count("QLinearConv") == 7
    assert "QGemm" in operations
    assert not {"Conv", "FusedConv", "MatMul", "Gemm"} & set(operations)


def test_records_say_where_the_ranges_are_from(folder, ranges):
    manifest = json.loads((folder / "manifest.json").read_text())
    report = json.loads((folder / "report.json").read_text())
    assert manifest["warnings"] == []
    for name in INT8:
        entry = manifest["artifacts"][name]
        assert entry["quantization"]["ranges_from"] == "learned in training"
        assert QuantizationRanges.from_json(entry["quantization"]["ranges"]) == ranges
        found = entry["verification"]["simulation"]
        assert found == report["artifacts"][name]["simulation"]
        assert found["mean_steps"] < 0.03
        assert found["agreement"] > 0.997
        line = rf"{entry['file']}: 0\.\d+ int8 steps from the simulated student on "
        assert re.search(line, format_table(report))
    assert "simulation" not in manifest["artifacts"]["onnx"]["verification"]


def test_verify_finds_files_that_compute_something_else(
    folder, student, ranges, samples
):
    samples = tuple(part[:64] for part in samples)
    report = verify(folder, student, samples, quantized_tolerance=LOOSE)
    assert report["artifacts"]["onnx_int8"]["simulation"]["mean_steps"] < 0.03

    other = keras.models.clone_model(student)
    other.set_weights([weight * 0.97 for weight in student.get_weights()])
    with pytest.raises(VerificationError) as error:
        verify(folder, other, samples)
    [reasons] = [error.value.report["failures"]["student_int8.tflite"]]
    assert any("int8 steps from the simulated student" in text for text in reasons)


def test_random_inputs_are_judged_by_the_simulation_alone(folder, student):
    """They exceed the ranges of real images, where the float student has no limits."""
    report = verify(folder, student, None)
    found = report["artifacts"]["onnx_int8"]
    assert found["simulation"]["mean_steps"] < 0.03
    [warning] = found["warnings"]
    assert warning.startswith("judged by its simulation alone")

    other = keras.models.clone_model(student)
    other.set_weights([weight * 0.97 for weight in student.get_weights()])
    with pytest.raises(VerificationError, match="int8 steps from the simulated"):
        verify(folder, other, None)


def test_ranges_of_another_student_are_refused(student, ranges, samples, tmp_path):
    found = {**ranges.minimums_maximums, "stranger": (0.0, 1.0)}
    del found["digit"]
    with pytest.raises(ValueError, match="another student.*'digit'.*'stranger'"):
        export_student(
            student,
            tmp_path / "export",
            ["onnx"],
            quantize="int8",
            ranges=QuantizationRanges(found),
            samples=samples,
        )
    assert not list(tmp_path.iterdir())
