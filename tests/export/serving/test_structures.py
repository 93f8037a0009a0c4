"""Students that take dictionaries, lists and tuples, and heads for training alone."""

import keras
import numpy as np
import pytest

from keras_diffkd.export import export_student
from keras_diffkd.export.serving.calibration import read_calibration
from keras_diffkd.export.serving.samples import read_samples
from keras_diffkd.export.serving.serving import Serving

A = np.random.default_rng(0).standard_normal((16, 6)).astype("float32")
B = np.random.default_rng(1).standard_normal((16, 3)).astype("float32")


class Structured(keras.Model):
    """Concatenates two inputs, whatever they come in."""

    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(4)

    def call(self, batch):
        first, second = keras.tree.flatten(batch)
        return self.dense(keras.ops.concatenate([first, second], axis=-1))


class Nested(Structured):
    def call(self, batch):
        return super().call([batch["left"], batch["right"][0]])


@pytest.mark.parametrize("with_targets", [False, True])
@pytest.mark.parametrize(
    ("student_class", "inputs"),
    [
        (Structured, {"area": A, "zoom": B}),
        (Structured, [A, B]),
        (Structured, (A, B)),
        (Nested, {"left": A, "right": [B]}),
    ],
    ids=["dict", "list", "tuple", "nested"],
)
def test_subclassed_students_take_their_samples(student_class, inputs, with_targets):
    student = student_class()
    expected = keras.ops.convert_to_numpy(student(inputs))
    serving = Serving(student)
    labels = np.zeros(16, int)
    given = (inputs, labels) if with_targets else inputs
    samples = read_samples(serving, given)
    assert (samples.targets is not None) == with_targets
    calibration = read_calibration(serving, given, samples)
    for name, array in samples.inputs.items():
        np.testing.assert_array_equal(calibration.inputs[name], array)
    arrays = [samples.inputs[spec.name] for spec in serving.inputs]
    (output,) = serving(*arrays).values()
    np.testing.assert_allclose(output, expected, rtol=1e-4, atol=1e-6)


class WithAuxiliaryHead(keras.Model):
    """Has a head, much larger than the rest, that only training returns."""

    def __init__(self):
        super().__init__()
        self.hidden = keras.layers.Dense(64, activation="relu")
        self.classes = keras.layers.Dense(5)
        self.auxiliary = keras.layers.Dense(500)

    def call(self, images, training=None):
        hidden = self.hidden(images)
        auxiliary = self.auxiliary(hidden)
        classes = self.classes(hidden)
        return (classes, auxiliary) if training else classes


def test_head_that_is_not_returned_is_not_missing(tmp_path):
    student = WithAuxiliaryHead()
    student(A)
    manifest = export_student(student, tmp_path / "export", samples=A)
    for entry in manifest["artifacts"].values():
        assert entry["verification"]["max_difference"] < 1e-5
    # Half of what the head alone would take up.
    assert manifest["artifacts"]["onnx"]["size"] < 64_000
