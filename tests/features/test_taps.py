import threading

import keras
import numpy as np
import pytest
from helpers.small_models import SubclassedCNN, TwoMaps, nested_model, small_cnn

from keras_diffkd.features.paths import find_layer
from keras_diffkd.features.specs import list_taps
from keras_diffkd.features.taps import call_with_taps


@pytest.fixture
def images(rng):
    return rng.normal(size=(2, 8, 8, 1)).astype("float32")


@pytest.mark.parametrize(
    ("make_model", "tap", "shape"),
    [
        (lambda: small_cnn(4), "features", (2, 4, 4, 4)),
        (nested_model, "backbone/stem", (2, 6, 6, 4)),
        (nested_model, "backbone/stack/act", (2, 6, 6, 4)),
        (SubclassedCNN, "body/features", (2, 4, 4, 8)),
        (SubclassedCNN, "head", (2, 10)),
    ],
)
def test_tapped_feature_is_what_the_layer_returned(make_model, tap, shape, images):
    model = make_model()
    expected = model(images, training=False)
    outputs, features = call_with_taps(model, images, [None, tap], training=False)
    assert features[tap].shape == shape
    np.testing.assert_array_equal(outputs, expected)
    np.testing.assert_array_equal(features[None], expected)


def test_feature_equals_that_of_a_model_cut_at_the_layer(images):
    model = small_cnn(4)
    cut = keras.Model(model.input, model.get_layer("features").output)
    _, features = call_with_taps(model, images, ["features"], training=False)
    np.testing.assert_array_equal(features["features"], cut(images, training=False))


def test_the_model_runs_once_and_is_left_as_it_was(images):
    model = small_cnn(4)
    layer = model.get_layer("features")
    calls = []
    original = layer.call
    layer.__dict__["call"] = lambda *a, **k: calls.append(1) or original(*a, **k)
    mine = layer.__dict__["call"]
    call_with_taps(model, images, ["features"], training=False)
    assert calls == [1]
    assert layer.__dict__["call"] is mine
    del layer.__dict__["call"]
    call_with_taps(model, images, ["features", "logits"], training=False)
    assert "call" not in layer.__dict__


def test_nothing_is_left_behind_by_a_failing_forward_pass():
    model = small_cnn(4)
    with pytest.raises(ValueError, match="incompatible|expected"):
        call_with_taps(model, np.zeros((2, 3)), ["features"], training=False)
    assert "call" not in model.get_layer("features").__dict__


@pytest.mark.parametrize(
    ("tap", "closest"),
    [
        ("feature", "'features'"),
        ("stem", "'backbone/stem'"),
        ("backbone/x", "backbone"),
    ],
)
def test_unknown_names_are_answered_with_the_closest(tap, closest):
    model = nested_model() if "feat" not in tap else small_cnn(4, name="cnn")
    with pytest.raises(ValueError, match=f"has no layer '{tap}'.*{closest}") as error:
        find_layer(model, tap)
    assert repr(model.name) in str(error.value)


def test_a_layer_that_runs_twice_or_never_is_refused(images):
    image = keras.Input((8, 8, 1))
    shared = keras.layers.ReLU(name="shared")
    model = keras.Model(image, shared(keras.layers.Conv2D(1, 1)(shared(image))))
    with pytest.raises(ValueError, match="'shared'.*ran 2 times"):
        call_with_taps(model, images, ["shared"], training=False)
    name = model.layers[0].name
    with pytest.raises(ValueError, match=f"'{name}'.*did not run"):
        call_with_taps(model, images, [name], training=False)


def test_a_tap_that_is_no_tensor_is_refused(images):
    image = keras.Input((8, 8, 1))
    outputs = [keras.layers.Flatten(name="a")(image), image]
    model = keras.Model(image, outputs, name="two_outputs")
    with pytest.raises(ValueError, match=r"output of model 'two_outputs'.*list"):
        call_with_taps(model, images, [None], training=False)
    outer = keras.Model(image, model(image)[0])
    with pytest.raises(ValueError, match="tap 'two_outputs'"):
        call_with_taps(outer, images, ["two_outputs"], training=False)


def test_threads_keep_their_records_apart(rng):
    model = small_cnn(4)
    batches = [rng.normal(size=(2, 8, 8, 1)).astype("float32") for _ in range(4)]
    expected = [
        call_with_taps(model, batch, ["features"], training=False)[1]["features"]
        for batch in batches
    ]
    received = [None] * len(batches)

    def run(index):
        for _ in range(10):
            _, features = call_with_taps(
                model, batches[index], ["features"], training=False
            )
            received[index] = features["features"]

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(batches))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for ours, theirs in zip(received, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert "call" not in model.get_layer("features").__dict__


class WithAttribute(keras.Model):
    def __init__(self):
        super().__init__()
        self.backbone = TwoMaps(name="something_7")

    def call(self, x):
        return self.backbone(x)


def test_one_entry_of_a_dictionary(images):
    model = WithAttribute()
    model(images)
    taps = ["backbone", "something:P3", ":P4", None]
    outputs, features = call_with_taps(model, images, taps, training=False)
    assert set(features["backbone"]) == set(features[None]) == {"P3", "P4"}
    np.testing.assert_array_equal(features["something:P3"], outputs["P3"])
    np.testing.assert_array_equal(features[":P4"], outputs["P4"])


@pytest.mark.parametrize("tap", ["backbone:P5", ":P5"])
def test_an_entry_that_is_not_there(tap, images):
    model = WithAttribute()
    model(images)
    with pytest.raises(ValueError, match=r"'P5'.*Received: \['P3', 'P4'\]"):
        call_with_taps(model, images, [tap], training=False)


def test_a_number_that_keras_added_may_be_left_out():
    def model(*names):
        layers = [keras.layers.Dense(2, name=name) for name in names]
        return keras.Sequential([keras.Input((2,)), *layers])

    assert find_layer(model("dense_3"), "dense").name == "dense_3"
    with pytest.raises(ValueError, match="no layer 'dense'"):
        find_layer(model("dense_3", "dense_4"), "dense")


@pytest.mark.parametrize("mode", ["int8", "int4"])
def test_a_layer_of_quantized_weights(mode, rng):
    x = rng.normal(size=(4, 8)).astype("float32")
    model = keras.Sequential(
        [
            keras.Input((8,)),
            keras.layers.Dense(16, name="features"),
            keras.layers.Dense(2),
        ]
    )
    model.quantize(mode)
    layer = model.get_layer("features")
    before = dict(vars(layer))
    outputs, features = call_with_taps(model, x, ["features"], training=False)
    np.testing.assert_array_equal(features["features"], layer(x))
    np.testing.assert_array_equal(outputs, model(x))
    assert vars(layer).keys() == before.keys()
    assert list_taps(model)["features"] == (None, 16)
