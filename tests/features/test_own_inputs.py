"""Batches that hold more than a model takes, and inputs that are no numbers."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.small_models import cross_entropy

from keras_diffkd import Distiller, FitNet, LogitsKD

RNG = np.random.default_rng(0)
DATA = {
    "vector": RNG.normal(size=(48, 6)).astype("float32"),
    # Sorted before and after the student's own entry.
    "a_teacher": RNG.normal(size=(48, 3)).astype("float32"),
    "weights": RNG.normal(size=(48, 6)).astype("float32"),
}
Y = np.arange(48) % 3
# A teacher that gives what it is given: what it said of the samples earlier.
RECALL = [keras.Input((3,), name="scores"), keras.layers.Identity()]


def student(kind="dict"):
    keras.utils.set_random_seed(0)
    vector = keras.Input((6,), name="vector")
    x = keras.layers.Dense(4, name="features")(vector)
    inputs = {"dict": {"vector": vector}, "list": [vector], "tensor": vector}[kind]
    return keras.Model(inputs, keras.layers.Dense(3)(x))


def logs_of(made, *data, **arguments):
    made.compile(keras.optimizers.SGD(0.1), cross_entropy())
    logs = made.fit(*data, epochs=2, shuffle=False, verbose=0, **arguments).history
    return logs, made.student.get_weights()


@pytest.mark.parametrize("form", ["arrays", "data set"])
@pytest.mark.parametrize("kind", ["dict", "list", "tensor"])
def test_what_the_teacher_said_comes_with_the_data(kind, form):
    made = Distiller(
        keras.Sequential(RECALL),
        student(kind),
        [LogitsKD()],
        teacher_preprocess=lambda batch: batch["a_teacher"],
    )
    given, arguments = (DATA, Y), {"batch_size": 16}
    if form == "data set":
        given = (tf.data.Dataset.from_tensor_slices((DATA, Y)).batch(16),)
        arguments = {}
    logs, weights = (
        logs_of(made, *given, validation_data=given[0], **arguments)
        if (form == "data set")
        else logs_of(made, *given, validation_data=given, **arguments)
    )
    # The same by an input that the student does not use, as the way was before.
    both = student("dict")
    inputs = {**both.input, "a_teacher": keras.Input((3,), name="a_teacher")}
    unused = keras.Model(inputs, both.output)
    other = Distiller(
        keras.Sequential(RECALL),
        unused,
        [LogitsKD()],
        teacher_preprocess=lambda batch: batch["a_teacher"],
    )
    known = {name: DATA[name] for name in inputs}
    expected, trained = logs_of(
        other, known, Y, batch_size=16, validation_data=(known, Y)
    )
    for name, values in expected.items():
        np.testing.assert_allclose(logs[name], values, rtol=1e-5, err_msg=name)
    for ours, theirs in zip(weights, trained, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    alone = made.strip()
    np.testing.assert_allclose(
        made.predict(DATA, verbose=0),
        alone.predict({"vector": DATA["vector"]}, verbose=0),
        rtol=1e-5,
    )
    assert made.evaluate(DATA, Y, verbose=0) == pytest.approx(
        other.evaluate(known, Y, verbose=0), rel=1e-5
    )


def test_a_teacher_that_sees_more_than_the_student():
    vector, more = keras.Input((6,), name="vector"), keras.Input((6,), name="weights")
    x = keras.layers.Dense(8, name="features")(keras.layers.Add()([vector, more]))
    teacher = keras.Model({"vector": vector, "weights": more}, keras.layers.Dense(3)(x))
    for kind in ("dict", "tensor"):
        made = Distiller(teacher, student(kind), [FitNet("features", "features")])
        logs, _ = logs_of(made, DATA, Y)
        assert np.isfinite(logs["fitnet/distill"]).all()


def test_what_fits_neither_is_refused():
    other = keras.Input((6,), name="other")
    teacher = keras.Model({"other": other}, keras.layers.Dense(3)(other))
    with pytest.raises(ValueError, match="must take the same inputs"):
        Distiller(teacher, student(), [LogitsKD()])
    made = Distiller(student=student())
    made.compile("sgd", cross_entropy())
    with pytest.raises(ValueError, match=r"without \['vector'\]"):
        made.fit({"weights": DATA["weights"]}, Y, verbose=0)


@pytest.mark.backend("tensorflow")
@pytest.mark.parametrize("form", ["array", "data set"])
def test_strings_for_a_model_that_reads_them(form):
    texts = np.array(["a good film", "a bad film", "good", "bad"] * 8)
    labels = np.array([1, 0, 1, 0] * 8)

    def network(width):
        text = keras.Input((), dtype="string")
        vectorize = keras.layers.TextVectorization(
            vocabulary=["a", "good", "bad", "film"], output_sequence_length=4
        )
        x = keras.layers.Embedding(6, width)(vectorize(text))
        x = keras.layers.GlobalAveragePooling1D(name="features")(x)
        return keras.Model(text, keras.layers.Dense(2)(x))

    plain = network(4)
    made = Distiller(
        network(8), network(4), [FitNet("features", "features"), LogitsKD()]
    )
    data = tf.data.Dataset.from_tensor_slices((texts, labels)).batch(32)
    given = (tf.constant(texts), labels) if form == "array" else (data,)
    made.compile(keras.optimizers.Adam(0.1), cross_entropy(), metrics=["accuracy"])
    logs = made.fit(*given, validation_data=data, epochs=10, verbose=0).history
    assert logs["val_accuracy"][-1] == 1.0
    plain.compile(keras.optimizers.Adam(0.1), cross_entropy(), metrics=["accuracy"])
    plain.fit(*given, epochs=10, verbose=0)
    assert plain.evaluate(data, verbose=0)[1] == 1.0
    assert made.predict(data, verbose=0).shape == (32, 2)
