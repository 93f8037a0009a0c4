import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from keras_diffkd.export import export_student
from keras_diffkd.export.formats.tflite_delegates import find_delegation_problem


class Sum(keras.layers.Layer):
    """What the delegate does not take."""

    def call(self, x):
        return keras.ops.cumsum(x, axis=-1)


@pytest.fixture(scope="module")
def torn(tmp_path_factory):
    inputs = keras.Input((1, 8, 3))
    x = keras.layers.Dense(8)(Sum()(keras.layers.Dense(8)(inputs)))
    outputs = keras.layers.Dense(4)(keras.layers.Flatten()(Sum()(x)))
    folder = tmp_path_factory.mktemp("torn") / "export"
    manifest = export_student(
        keras.Model(inputs, outputs),
        folder,
        ["tflite", "tflite_float16"],
        input="uint8",
        normalization={"mean": [0.5], "std": [0.25]},
        quantized_tolerance=1.0,
    )
    return folder, manifest


@pytest.mark.parametrize("name", ["tflite", "tflite_float16"])
def test_graph_in_parts_is_a_warning(name, torn):
    """Neither the cast of the pixels nor unpacked weights are parts of the graph."""
    _, manifest = torn
    [warning] = [
        text
        for text in manifest["artifacts"][name]["verification"]["warnings"]
        if "delegate" in text
    ]
    assert warning.startswith("the CPU delegate takes it in 3 parts; 2 of ")
    assert warning.endswith(" operations run outside: 2 CUMSUM")


def test_graph_that_is_taken_as_a_whole(exported):
    assert find_delegation_problem(operations(exported / "student.tflite")) == []


def test_without_delegate(torn):
    """As where the interpreter was built without it."""
    folder, _ = torn
    left = [
        operation
        for operation in operations(folder / "student.tflite")
        if operation["op_name"] != "DELEGATE"
    ]
    [problem] = find_delegation_problem(left)
    assert f"in 0 parts; {len(left) - 1} of {len(left)} operations" in problem


def operations(path):
    interpreter = Interpreter(str(path))
    runner = interpreter.get_signature_runner()
    details = runner.get_input_details()
    runner(**{n: np.zeros(d["shape"], d["dtype"]) for n, d in details.items()})
    return interpreter._get_ops_details()
