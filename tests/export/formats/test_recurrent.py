"""Recurrent students: loops in ONNX and TFLite, against the Keras layers."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_diffkd.export import ExportError, export_student
from keras_diffkd.export.formats.onnx import ONNX
from keras_diffkd.export.formats.saved_model import write_saved_model
from keras_diffkd.export.formats.tflite_apart import convert_apart
from keras_diffkd.export.formats.tflite_unrolled import MAX_STEPS, unrolled
from keras_diffkd.export.proof.reference import predict
from keras_diffkd.export.serving.samples import read_samples
from keras_diffkd.export.serving.serving import Serving

STEPS = np.random.default_rng(0).standard_normal((8, 6, 4)).astype("float32")
MOVIES = np.random.default_rng(0).standard_normal((8, 3, 5, 5, 2)).astype("float32")


def recurrent(shape, *middle):
    return keras.Sequential([keras.Input(shape), *middle, layers.Dense(5)])


@pytest.fixture(autouse=True)
def seed():
    keras.utils.set_random_seed(0)


@pytest.mark.parametrize(
    ("middle", "inputs"),
    [
        (lambda: [layers.LSTM(6)], STEPS),
        (lambda: [layers.GRU(6, return_sequences=True, reset_after=False)], STEPS),
        (lambda: [layers.SimpleRNN(6, go_backwards=True)], STEPS),
        (lambda: [layers.Masking(0.0), layers.Bidirectional(layers.GRU(6))], STEPS),
        (lambda: [layers.ConvLSTM2D(3, 3), layers.Flatten()], MOVIES),
        (
            lambda: [layers.TimeDistributed(layers.Conv2D(3, 3)), layers.Flatten()],
            MOVIES,
        ),
    ],
    ids=["lstm", "gru", "simple", "masked", "conv_lstm", "time_distributed"],
)
def test_onnx(middle, inputs, tmp_path):
    inputs = inputs.copy()
    if inputs.ndim == 3:
        inputs[:, 4:] = 0  # What masking leaves out.
    student = recurrent(inputs.shape[1:], *middle())
    serving = Serving(student)
    ONNX().write(serving, tmp_path / "student.onnx")
    runtime = ONNX().open(tmp_path / "student.onnx")
    (output,) = predict(runtime, read_samples(serving, inputs)).values()
    np.testing.assert_allclose(output, student(inputs), atol=1e-6)
    one = runtime.run({"image": inputs[:1]})["logits"]
    np.testing.assert_allclose(one, output[:1], atol=1e-6)


def test_all_float_formats_of_stacked_layers(tmp_path):
    student = recurrent(
        STEPS.shape[1:],
        layers.Bidirectional(layers.GRU(6, return_sequences=True)),
        layers.LSTM(8),
    )
    formats = ["saved_model", "onnx", "tflite", "tflite_dynamic"]
    manifest = export_student(student, tmp_path / "export", formats, samples=STEPS)
    for name in formats[:3]:
        found = manifest["artifacts"][name]["verification"]
        assert found["max_difference"] < 1e-6


def test_int8(tmp_path):
    """With a loop TensorFlow's converter aborts, in plain TensorFlow too."""
    student = recurrent(STEPS.shape[1:], layers.Bidirectional(layers.GRU(6)))
    formats = ["tflite", "onnx_int8", "tflite_int8"]
    manifest = export_student(student, tmp_path / "export", formats, samples=STEPS)
    for name in formats[1:]:
        found = manifest["artifacts"][name]["verification"]
        assert found["max_difference"] < 0.1
    assert not student.layers[0].forward_layer.unroll


def test_steps_that_are_too_many_for_int8(tmp_path):
    student = recurrent((MAX_STEPS + 1, 4), layers.LSTM(3))
    message = r"257 steps.*Choose 'tflite_dynamic'"
    with pytest.raises(ExportError, match=message), unrolled(student):
        raise AssertionError("it was unrolled")


def test_converter_that_crashes_leaves_this_process(tmp_path):
    """It does on this loop; what it said is in the error."""
    student = recurrent(STEPS.shape[1:], layers.GRU(6))
    write_saved_model(Serving(student), tmp_path / "model", batch_size=1)
    examples = [{"image": STEPS[:1]}]
    with pytest.raises(ExportError, match=r"crashed \(SIG.*It printed: "):
        convert_apart(tmp_path / "model", tmp_path / "student.tflite", examples)


@pytest.mark.parametrize("masked", [False, True])
def test_int8_of_padded_examples(masked, tmp_path):
    """Ranges of steps that are zero in all examples had no width, and LiteRT died."""
    mask = [layers.Masking(0.0)] if masked else []
    student = recurrent(STEPS.shape[1:], *mask, layers.GRU(6))
    padded = STEPS.copy()
    padded[:, 4:] = 0
    name = "tflite_int8"
    manifest = export_student(
        student, tmp_path / "export", [name], samples=padded, quantized_tolerance=1.0
    )
    assert manifest["artifacts"][name]["verification"]["max_difference"] < 0.1


def test_interpreter_that_crashes_leaves_this_process(tmp_path):
    student = recurrent(STEPS.shape[1:], layers.GRU(6, unroll=True))
    write_saved_model(Serving(student), tmp_path / "model", batch_size=1)
    padded = STEPS[:1].copy()
    padded[:, 4:] = 0
    with pytest.raises(ExportError, match=r"interpreter of the file crashed \(SIG"):
        convert_apart(
            tmp_path / "model", tmp_path / "student.tflite", [{"image": padded}]
        )
