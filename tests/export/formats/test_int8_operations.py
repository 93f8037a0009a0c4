"""int8 files of learned ranges compute single operations as Keras has simulated."""

import json

import keras
import numpy as np
import onnx
from ai_edge_litert.interpreter import Interpreter
from helpers.observed_ranges import observe
from helpers.quantizing_here import quantizing_here
from keras import layers

from keras_diffkd.export import export_student
from keras_diffkd.export.formats import FORMATS
from keras_diffkd.export.serving.serving import Serving
from keras_diffkd.export.serving.simulated import output_steps, simulated

INT8 = ["onnx_int8", "tflite_int8"]


def mean_steps(student, ranges, images, folder):
    """Returns the mean difference of each int8 file from the simulation."""
    export_student(student, folder / "export", INT8, ranges=ranges, samples=images)
    artifacts = json.loads((folder / "export" / "report.json").read_text())["artifacts"]
    return [artifacts[name]["simulation"]["mean_steps"] for name in INT8]


def test_operations_between_convolutions(tmp_path, rng):
    """Normalization is exact, averages and resized maps are rounded.

    Half of the averages of four integers lie in the middle of two, so steps are more.
    """
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3), name="image")
    shared = layers.Conv2D(8, 3, padding="same", activation="relu", name="shared")
    x = layers.Conv2D(8, 1, activation="silu")(image)
    one = layers.AveragePooling2D(2)(shared(x))
    norm = layers.BatchNormalization()
    one = layers.ReLU()(norm(one))
    one = layers.UpSampling2D(interpolation="bilinear")(one)
    two = layers.Conv2D(8, 1, padding="same")(shared(one))
    x = layers.Flatten()(layers.Concatenate()([one, two]))
    network = keras.Model(image, layers.Dense(4, activation="softmax")(x))
    for weight, low in zip(norm.weights, (-1.0, -1.0, -0.1, 0.2), strict=True):
        weight.assign(rng.uniform(low, 1.0, 8))
    images = rng.uniform(-1, 1, (64, 8, 8, 3)).astype("float32")
    expected = network.predict(images, verbose=0)
    ranges = observe(network, images)
    serving = simulated(Serving(network), ranges)
    assert output_steps(serving) == {}  # Softmax stays float.
    assert np.abs(serving.student(images).numpy() - expected).mean() < 0.01
    expected = serving.student(images).numpy()
    for name in INT8:
        path = tmp_path / FORMATS[name].file
        with quantizing_here():
            FORMATS[name].write(serving, path)
        runner = FORMATS[name].open(path)
        outputs = [runner.run({"image": image[None]})["logits"] for image in images]
        differences = np.abs(np.concatenate(outputs) - expected)
        assert differences.mean() < 1 / 256
    session = Interpreter(str(tmp_path / "student_int8.tflite"))
    operations = {op["op_name"] for op in session._get_ops_details()}
    assert "DEQUANTIZE" not in operations
    kinds = [node.op_type for node in onnx.load(path.with_suffix(".onnx")).graph.node]
    assert kinds.count("Conv") == 5  # Normalization without a convolution is one.


def test_weights_in_the_middle_of_two_values_are_the_same_everywhere(tmp_path, rng):
    """The order in which a graph computes decides whether they go up or down."""
    image = keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(16, 3, use_bias=False, name="conv")(image)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.Dense(10, name="digit")(layers.GlobalAveragePooling2D()(x))
    student = keras.Model(image, x)
    kernel = rng.integers(-100, 100, (3, 3, 3, 16)) + 0.5
    kernel[0, 0, 0] = 127.0
    _, conv, norm, *_ = student.layers
    conv.set_weights([kernel * rng.uniform(0.1, 1, 16)])
    norm.set_weights([rng.uniform(0.5, 2, 16) for _ in norm.weights])
    images = rng.normal(size=(256, 8, 8, 3)).astype("float32")
    ranges = observe(student, images)

    steps = mean_steps(student, ranges, images[:64], tmp_path)
    assert max(steps) < 1e-3


def test_larger_and_smaller_values_are_not_rounded_again(tmp_path, rng):
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(8, 3, activation="relu")(image)
    x = layers.Maximum()([x, layers.Conv2D(8, 1)(x)])
    x = layers.Minimum()([x, layers.Conv2D(8, 1)(x)])
    x = keras.ops.maximum(x, -0.123)
    student = keras.Model(image, layers.Dense(10)(layers.Flatten()(x)))
    images = rng.normal(size=(64, 8, 8, 3)).astype("float32")
    ranges = observe(student, images)
    assert max(mean_steps(student, ranges, images, tmp_path)) < 0.03


def test_what_is_not_simulated_is_float_in_files(tmp_path, rng):
    """TFLite's converter computes averages and products in int8 where it can."""
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(8, 3, activation="relu")(image)
    x = layers.Conv2D(8, 1)(layers.LayerNormalization()(x))
    x = layers.Conv2D(8, 1)(layers.GroupNormalization(2)(x))
    x = layers.Reshape((-1, 8))(x)
    x = layers.Conv1D(8, 1)(layers.MultiHeadAttention(2, 4)(x, x))
    student = keras.Model(image, layers.Dense(10)(layers.Flatten()(x)))
    images = rng.normal(size=(64, 8, 8, 3)).astype("float32")
    ranges = observe(student, images)
    assert set(ranges.not_simulated) == {
        *("layer_normalization", "group_normalization", "multi_head_attention")
    }
    assert max(mean_steps(student, ranges, images, tmp_path)) < 0.03
