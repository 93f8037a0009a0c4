"""Students of whole numbers (pixels, tokens) and of channels first."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_diffkd.export import export_student, verify
from keras_diffkd.export.serving.pixels import describe_input
from keras_diffkd.export.serving.serving import Serving

pytestmark = pytest.mark.usefixtures("int8_in_this_process")

rng = np.random.default_rng(0)
FORMATS = ["onnx", "tflite", "onnx_int8", "tflite_int8"]


def pixels():
    inputs = keras.Input((8, 8, 3), dtype="uint8")
    x = layers.Rescaling(1 / 255.0)(inputs)
    x = layers.Conv2D(4, 3, activation="relu")(x)
    student = keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))
    return student, rng.integers(0, 256, (16, 8, 8, 3)).astype("uint8")


def tokens():
    inputs = keras.Input((10,), dtype="int32")
    x = layers.GlobalAveragePooling1D()(layers.Embedding(50, 8)(inputs))
    student = keras.Model(inputs, layers.Dense(3)(x))
    return student, rng.integers(0, 50, (16, 10)).astype("int32")


@pytest.mark.parametrize("make", [pixels, tokens])
def test_all_formats_take_whole_numbers(make, tmp_path):
    keras.utils.set_random_seed(0)
    student, inputs = make()
    folder = tmp_path / "export"
    manifest = export_student(student, folder, FORMATS, samples=inputs)
    for name in FORMATS:
        entry = manifest["artifacts"][name]
        assert entry["inputs"][0]["dtype"] == inputs.dtype.name
        assert entry["verification"]["max_difference"] < 0.02
    assert manifest["input"]["dtype"] == inputs.dtype.name
    assert manifest["input"]["normalized_by"] == "caller"
    assert verify(folder, student, inputs)["failures"] == {}


def test_channels_first_is_in_the_manifest():
    inputs = keras.Input((3, 8, 8))
    x = layers.Conv2D(4, 3, data_format="channels_first")(inputs)
    student = keras.Model(inputs, layers.Dense(3)(layers.Flatten()(x)))
    assert describe_input(Serving(student))["layout"] == "NCHW"
    assert describe_input(Serving(pixels()[0]))["layout"] == "NHWC"
