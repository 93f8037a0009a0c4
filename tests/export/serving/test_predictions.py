"""What outputs are: accuracies must be those of `keras.Model.evaluate`."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_diffkd.export import VerificationError, export_student
from keras_diffkd.export.proof.reference import make_reference
from keras_diffkd.export.serving.predictions import Prediction, find_predictions
from keras_diffkd.export.serving.samples import read_samples
from keras_diffkd.export.serving.serving import Serving

rng = np.random.default_rng(0)
INPUTS = rng.standard_normal((128, 8)).astype("float32")
BINARY = (INPUTS[:, 0] + 0.3 * INPUTS[:, 1] > 0.4).astype("int64")
SEVERAL = (INPUTS[:, :3] > 0.3).astype("int64")
PROBABILITY = Prediction("threshold", 0.5, True)
LOGIT = Prediction("threshold", 0.0)
NUMBER = Prediction("number")


def student(units, activation=None, loss=None, metrics=None):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((8,)), layers.Dense(units, activation=activation)]
    )
    if loss is not None:
        model.compile(keras.optimizers.Adam(0.03), loss, metrics=metrics)
    return model


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(1)

    def call(self, inputs):
        return keras.ops.reshape(keras.ops.sigmoid(self.dense(inputs)), (-1,))


def read(model, labels=None):
    (found,) = find_predictions(Serving(model), labels).values()
    return found


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (lambda: student(1, "sigmoid"), PROBABILITY),
        (lambda: student(3, "sigmoid"), PROBABILITY),
        (lambda: student(1, None, "binary_crossentropy"), PROBABILITY),
        (
            lambda: student(1, None, keras.losses.BinaryCrossentropy(from_logits=True)),
            LOGIT,
        ),
        (lambda: student(1, None, "hinge"), LOGIT),
        (lambda: student(1, None, "mse"), NUMBER),
        (lambda: student(4, None, keras.losses.Huber()), NUMBER),
        (lambda: student(4, None, keras.losses.log_cosh), NUMBER),
        (lambda: student(1), NUMBER),
        (lambda: student(4), Prediction("class")),
        (lambda: student(4, None, lambda y, p: keras.ops.mean(p)), Prediction("class")),
        (lambda: student(4, "softmax"), Prediction("class", 0.0, True)),
        (
            lambda: student(4, "sigmoid", "sparse_categorical_crossentropy"),
            Prediction("class", 0.0, True),
        ),
    ],
)
def test_what_an_output_is(model, expected):
    assert read(model()) == expected


def test_subclassed_students_are_known_by_their_graph():
    model = Subclassed()
    model(INPUTS)
    assert read(model) == PROBABILITY


def test_one_number_with_labels_is_a_logit():
    assert read(student(1), BINARY) == LOGIT


def test_whole_numbers_are_themselves():
    inputs = keras.Input((8,))
    scores = layers.Dense(3)(inputs)
    first = keras.ops.cast(scores > 0, "int32")
    model = keras.Model(inputs, [scores, first])
    found = list(find_predictions(Serving(model)).values())
    assert found == [Prediction("class"), Prediction("value")]


@pytest.mark.parametrize(
    ("units", "activation", "loss", "metric", "labels"),
    [
        (1, "sigmoid", "binary_crossentropy", "accuracy", BINARY),
        (1, "sigmoid", "binary_crossentropy", "accuracy", BINARY[:, None] * 1.0),
        (3, "sigmoid", "binary_crossentropy", "binary_accuracy", SEVERAL),
        (
            1,
            None,
            keras.losses.BinaryCrossentropy(from_logits=True),
            keras.metrics.BinaryAccuracy(threshold=0.0),
            BINARY,
        ),
        (2, "softmax", "sparse_categorical_crossentropy", "accuracy", BINARY),
        (2, "sigmoid", "sparse_categorical_crossentropy", "accuracy", BINARY),
    ],
)
def test_accuracy_is_that_of_keras(units, activation, loss, metric, labels):
    model = student(units, activation, loss, [metric])
    model.fit(INPUTS, labels, epochs=4, verbose=0)
    expected = model.evaluate(INPUTS, labels, verbose=0)[1]
    serving = Serving(model)
    reference = make_reference(serving, read_samples(serving, (INPUTS, labels)))
    assert reference.values["accuracy"] == pytest.approx(expected, abs=1e-6)
    assert 0.5 < expected < 1.0


@pytest.mark.parametrize(
    ("model", "labels"),
    [
        (lambda: student(1, None, "mse"), BINARY),
        (lambda: student(1, None, "mse"), INPUTS[:, 0]),
        (lambda: student(1, "sigmoid"), INPUTS[:, 0]),
        (lambda: student(3), SEVERAL),
    ],
)
def test_targets_that_are_no_labels(model, labels):
    with pytest.raises(ValueError, match="Pass `metrics` for other targets"):
        read_samples(Serving(model()), (INPUTS, labels))


@pytest.fixture(scope="module")
def confident():
    """Of accuracy 1, whose outputs are 1e-18 and 1: a long training."""
    model = student(1, "sigmoid")
    kernel = np.zeros((8, 1))
    kernel[:2, 0] = 20.0, 6.0
    model.set_weights([kernel, np.array([-8.0])])
    return model


def test_saturated_probabilities(confident, tmp_path):
    samples = (INPUTS, BINARY)
    manifest = export_student(confident, tmp_path / "export", samples=samples)
    assert manifest["verification"]["keras_accuracy"] == 1.0
    for entry in manifest["artifacts"].values():
        assert entry["verification"]["accuracy"] == 1.0
        assert entry["verification"]["agreement"] == 1.0


def test_useless_int8_file_of_one_probability_is_refused(confident, tmp_path):
    """Its ranges are a thousand times too small, so it says no to everything."""
    with pytest.raises(VerificationError, match="below the Keras student's 1.0000"):
        export_student(
            confident,
            tmp_path / "export",
            ["onnx_int8"],
            samples=(INPUTS, BINARY),
            calibration_samples=INPUTS * 1e-3,
        )
