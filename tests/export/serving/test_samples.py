import keras
import numpy as np
import pytest

from keras_diffkd.export.serving.samples import read_samples
from keras_diffkd.export.serving.serving import Serving


@pytest.fixture(scope="module")
def serving(student):
    return Serving(student)


def test_random_samples_are_the_same_every_time(serving):
    first, second = read_samples(serving, None), read_samples(serving, None)
    np.testing.assert_array_equal(first.inputs["image"], second.inputs["image"])
    assert len(first) == 64
    assert first.targets is None


def test_inputs_and_labels(serving, images):
    samples = read_samples(serving, (images.astype("float64"), np.zeros((150, 1), int)))
    assert samples.inputs["image"].dtype == np.float32
    assert samples.targets.shape == (150,)
    np.testing.assert_array_equal(samples.batch(140, 999)["image"], images[140:])


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros((2, 6, 6)), "do not have its shape"),
        (np.zeros((0, 6, 6, 2)), "at least one example"),
        (np.full((2, 6, 6, 2), np.nan), "NaN"),
        ((np.zeros((2, 6, 6, 2)), np.zeros(3, int)), r"shape \(2,\)"),
        ((np.zeros((2, 6, 6, 2)), np.zeros(2)), "integer labels"),
        ((np.zeros((2, 6, 6, 2)),) * 3, "tuple of 3"),
    ],
)
def test_unusable_samples(samples, message, serving):
    with pytest.raises(ValueError, match=message):
        read_samples(serving, samples)


def test_structure_must_be_the_students():
    a, b = keras.Input((2,), name="a"), keras.Input((3,), name="b")
    serving = Serving(keras.Model([a, b], keras.layers.Concatenate()([a, b])))
    arrays = [np.zeros((4, 2)), np.zeros((4, 3))]

    assert read_samples(serving, arrays).inputs["b"].shape == (4, 3)
    with pytest.raises(ValueError, match="not structured"):
        read_samples(serving, arrays[0])
    with pytest.raises(ValueError, match="as many for every"):
        read_samples(serving, [arrays[0], arrays[1][:2]])


def test_random_integers_are_not_invented():
    tokens = keras.Input((4,), dtype="int32")
    student = keras.Model(tokens, keras.layers.Embedding(10, 2)(tokens))
    with pytest.raises(ValueError, match="only made for float"):
        read_samples(Serving(student), None)


def metrics(outputs, targets):
    return {"one": 1.0}


def test_targets_of_metrics_are_any_structure(serving, images):
    targets = {"boxes": images[:, 0], "labels": [np.zeros(150, int)]}
    found = read_samples(serving, (images, targets), metrics).targets
    np.testing.assert_array_equal(found["boxes"], images[:, 0])
    assert found["labels"][0].shape == (150,)


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (None, "without targets"),
        ({"a": np.zeros(4), "b": np.zeros(3)}, r"4 examples.*\[\(4,\), \(3,\)\]"),
        ([1, 2, 3, 4], "an array, or a structure of arrays"),
        ({}, "an array, or a structure of arrays"),
    ],
)
def test_unusable_targets(targets, message, serving):
    samples = (np.zeros((4, 6, 6, 2)), targets)
    with pytest.raises(ValueError, match=message):
        read_samples(serving, samples, metrics)


def test_metrics_need_targets(serving):
    with pytest.raises(ValueError, match="without targets"):
        read_samples(serving, None, metrics)


def test_targets_without_metrics_are_labels(serving):
    samples = (np.zeros((4, 6, 6, 2)), {"labels": np.zeros(4, int)})
    with pytest.raises(ValueError, match="Pass `metrics` for other targets"):
        read_samples(serving, samples)
