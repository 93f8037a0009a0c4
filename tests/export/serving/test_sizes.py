"""Students that take inputs of any size: what each format takes."""

import json

import keras
import numpy as np
import onnx
import pytest
from keras import layers

from keras_diffkd.export import (
    ExportError,
    VerificationError,
    export_student,
    verify,
)
from keras_diffkd.export.formats import FORMATS

pytestmark = pytest.mark.usefixtures("int8_in_this_process")

RNG = np.random.default_rng(0)
STEPS = RNG.standard_normal((12, 10, 4)).astype("float32")
IMAGES = RNG.standard_normal((12, 8, 6, 3)).astype("float32")
TOKENS = RNG.integers(0, 20, (12, 10)).astype("int32")
FLOAT = ["saved_model", "onnx", "tflite"]


def student(shape, *middle, dtype="float32"):
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [keras.Input(shape, dtype=dtype), *middle, layers.Dense(5)], name="student"
    )


def convolutional():
    return student(
        (None, None, 3), layers.Conv2D(4, 3), layers.GlobalAveragePooling2D()
    )


def dimensions(value):
    return [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]


@pytest.mark.parametrize(
    ("model", "inputs", "axes"),
    [
        (convolutional, IMAGES, ["batch", "height", "width", 3]),
        (
            lambda: student((None, 4), layers.Conv1D(4, 3), layers.LSTM(6)),
            STEPS,
            ["batch", "time", 4],
        ),
        (
            lambda: student(
                (None,),
                layers.Embedding(20, 4, mask_zero=True),
                layers.Bidirectional(layers.GRU(6)),
                dtype="int32",
            ),
            TOKENS,
            ["batch", "time"],
        ),
    ],
    ids=["images", "steps", "tokens"],
)
def test_all_sizes(model, inputs, axes, tmp_path):
    model, folder = model(), tmp_path / "export"
    manifest = export_student(model, folder, FLOAT, samples=inputs)
    (described,) = manifest["inputs"]
    assert described["shape"] == [a if isinstance(a, int) else None for a in axes]
    (given,) = onnx.load(folder / "student.onnx").graph.input
    assert dimensions(given) == axes
    larger = np.concatenate([inputs, inputs[:, :7]], axis=1)
    for name in ("saved_model", "onnx"):
        runner = FORMATS[name].open(folder / FORMATS[name].file)
        found = runner.run({"image": larger})["logits"]
        np.testing.assert_allclose(found, model(larger), atol=1e-5)
    (fixed,) = FORMATS["tflite"].open(folder / "student.tflite").inputs
    assert fixed.shape == [1, *inputs.shape[1:]]
    assert manifest["artifacts"]["tflite"]["inputs"] == [fixed.to_json()]


def test_output_of_any_size(tmp_path):
    model = student((None, None, 3), layers.Conv2D(4, 3))
    labels = RNG.integers(0, 5, (12, 6, 4))
    folder = tmp_path / "export"
    manifest = export_student(model, folder, FLOAT, samples=(IMAGES, labels))
    (output,) = onnx.load(folder / "student.onnx").graph.output
    assert dimensions(output) == ["batch", "logits_axis_1", "logits_axis_2", 5]
    assert manifest["artifacts"]["tflite"]["outputs"][0]["shape"] == [1, 6, 4, 5]
    assert manifest["verification"]["keras_accuracy"] > 0


def test_quantized(tmp_path):
    model = student((None, 4), layers.GRU(6))
    formats = ["onnx_int8", "tflite_int8", "tflite_dynamic"]
    manifest = export_student(
        model, tmp_path / "export", formats, samples=STEPS, quantized_tolerance=1.0
    )
    for entry in manifest["artifacts"].values():
        assert entry["verification"]["max_difference"] < 0.1


def test_verify_with_another_size(tmp_path):
    model, folder = convolutional(), tmp_path / "export"
    export_student(model, folder, FLOAT, samples=IMAGES)
    other = IMAGES[:, :7]
    with pytest.raises(VerificationError, match=r"'image' only of shape .1, 8, 6, 3"):
        verify(folder, model, other)
    verify(folder, model, IMAGES)


class Scaled(layers.Layer):
    """Takes what it does not know to be the size of the samples."""

    def call(self, x):
        return x * (x.shape[1] or IMAGES.shape[1])


def test_graph_that_is_right_at_one_size_alone(tmp_path):
    model = student((None, None, 3), Scaled(), layers.GlobalAveragePooling2D())
    message = r"with inputs of \[\[16, 12, 3\]\]: out of tolerance"
    with pytest.raises(VerificationError, match=message):
        export_student(model, tmp_path / "export", ["onnx"], samples=IMAGES)


class Positions(layers.Layer):
    """Takes no more steps than it was made for."""

    def __init__(self, most, least=0):
        super().__init__()
        self.most, self.least = most, least

    def call(self, x):
        if x.shape[1] is not None and not self.least <= x.shape[1] <= self.most:
            raise ValueError("wrong number of steps")
        return x


def test_student_that_takes_no_more(tmp_path):
    model = student((None, 4), Positions(10), layers.GlobalAveragePooling1D())
    manifest = export_student(model, tmp_path / "export", ["onnx"], samples=STEPS)
    assert manifest["artifacts"]["onnx"]["inputs"][0]["shape"] == [None, None, 4]


def test_student_that_takes_one_size(tmp_path):
    middle = Positions(10, 10), layers.GlobalAveragePooling1D()
    with pytest.raises(ValueError, match="neither twice nor half.*wrong number"):
        export_student(student((None, 4), *middle), tmp_path / "e", samples=STEPS)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"samples": None}, "random samples cannot be made"),
        ({"samples": STEPS}, r"Expected: \(None, None, None, 3\)"),
        (
            {"calibration_samples": IMAGES[:, :5], "formats": ["onnx_int8"]},
            r"size of the samples, \(8, 6, 3\).*Received: \(5, 6, 3\)",
        ),
    ],
)
def test_unusable(arguments, message, tmp_path):
    arguments = {"samples": IMAGES, **arguments}
    with pytest.raises(ValueError, match=message):
        export_student(convolutional(), tmp_path / "export", **arguments)
    assert list(tmp_path.iterdir()) == []


def test_web_page(tmp_path):
    how = {"mean": [0.5] * 3, "std": [0.5] * 3}
    with pytest.raises(ExportError, match="feeds images of one size"):
        export_student(
            convolutional(),
            tmp_path / "export",
            samples=IMAGES,
            normalization=how,
            web={},
        )


def test_two_inputs(tmp_path):
    """They may have different lengths, so their axes have different names."""
    one, two = keras.Input((None, 4), name="one"), keras.Input((None, 4), name="two")
    merged = layers.Concatenate(axis=1)([one, two])
    outputs = layers.Dense(5)(layers.GlobalAveragePooling1D()(merged))
    folder = tmp_path / "export"
    samples = {"one": STEPS, "two": STEPS[:, :7]}
    export_student(
        keras.Model({"one": one, "two": two}, outputs),
        folder,
        ["onnx"],
        samples=samples,
    )
    graph = onnx.load(folder / "student.onnx").graph
    assert [dimensions(value)[1] for value in graph.input] == [
        "one_axis_1",
        "two_axis_1",
    ]
    assert json.loads((folder / "manifest.json").read_text())["inputs"][0]["name"]
