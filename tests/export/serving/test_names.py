"""Names of inputs and outputs, which must not depend on what else a process builds."""

import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers

from keras_diffkd.export import export_student
from keras_diffkd.export.serving.names import name_tensors, snake_case
from keras_diffkd.export.serving.serving import Serving


def names(model):
    return name_tensors(model, model.input, model.output)


def two_heads(first=None, second=None, name=None):
    inputs = keras.Input((4,), name=name)
    heads = [layers.Dense(3, name=first), layers.Dense(2, name=second)]
    return keras.Model(inputs, [head(inputs) for head in heads])


@pytest.mark.parametrize("others", [0, 3])
def test_automatic_names_do_not_count_other_models(others):
    for _ in range(others):
        two_heads()
    assert names(two_heads()) == ["input_0", "output_0", "output_1"]


def test_given_names_are_kept():
    model = two_heads("kind", "color", "pixels")
    assert names(model) == ["pixels", "kind", "color"]
    assert names(two_heads("kind")) == ["input_0", "kind", "output_1"]


def test_keys_are_names():
    inputs = {"b": keras.Input((4,)), "a": keras.Input((4,))}
    shared = layers.Dense(2)
    outputs = {"y": shared(inputs["b"]), "x": shared(inputs["a"])}
    found = [*Serving(keras.Model(inputs, outputs)).inputs]
    assert sorted(spec.name for spec in found) == ["a", "b"]
    assert names(keras.Model(inputs, outputs))[2:] == ["x", "y"]


def test_outputs_that_are_inputs():
    inputs = keras.Input((4,))
    model = keras.Model(inputs, [layers.Dense(3)(inputs), inputs])
    assert names(model) == ["input_0", "output_0", "output_1"]


@pytest.mark.parametrize(
    "layer", [layers.Conv2DTranspose, layers.Dense, layers.GRU, layers.ReLU, layers.RNN]
)
def test_snake_case_is_that_of_keras(layer):
    found = keras.src.utils.naming.auto_name(layer.__name__)
    assert found.startswith(snake_case(layer.__name__))


SCRIPT = """
import sys, keras, numpy as np
from keras_diffkd.export import verify
folder = sys.argv[1]
report = verify(
    folder + "/export",
    keras.models.load_model(folder + "/student.keras"),
    np.load(folder + "/inputs.npy"),
)
print(sorted(report["artifacts"]))
"""


def test_verification_in_another_process(tmp_path):
    for _ in range(3):  # So that Keras's counters are somewhere else.
        two_heads()
    student = two_heads("kind")
    inputs = np.random.default_rng(0).standard_normal((8, 4)).astype("float32")
    student.save(tmp_path / "student.keras")
    np.save(tmp_path / "inputs.npy", inputs)
    export_student(student, tmp_path / "export", ["onnx"], samples=inputs)
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)], capture_output=True, text=True
    )
    assert result.stdout.strip() == "['onnx']", result.stderr


def test_exports_with_names_of_another_process_verify(tmp_path, monkeypatch):
    """As those before names were the same in every process."""
    from keras_diffkd.export import verify
    from keras_diffkd.export.serving import serving

    student = two_heads()
    inputs = np.random.default_rng(0).standard_normal((8, 4)).astype("float32")
    old = ["keras_tensor_12", "dense_3", "dense_4"]
    monkeypatch.setattr(serving, "name_tensors", lambda *_: old)
    export_student(student, tmp_path / "export", ["onnx"], samples=inputs)
    monkeypatch.undo()
    assert verify(tmp_path / "export", student, inputs)["artifacts"]["onnx"]["ok"]
