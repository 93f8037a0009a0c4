import keras
import pytest
from helpers.small_models import SubclassedCNN, TwoMaps, nested_model, small_cnn

from keras_diffkd.features.specs import input_spec, list_taps, output_specs
from keras_diffkd.features.taps import call_with_taps


@pytest.fixture
def images(rng):
    return rng.normal(size=(2, 8, 8, 1)).astype("float32")


def test_specs_have_the_shapes_of_the_real_features(images):
    model = SubclassedCNN()
    assert input_spec(model) is None
    model(images)
    spec = input_spec(model)
    assert spec.shape == (None, 8, 8, 1)
    outputs, features = output_specs(model, spec, [None, "body/features"])
    assert outputs.shape == (None, 10)
    assert features["body/features"].shape == (None, 4, 4, 8)


def test_the_taps_of_a_model():
    assert list_taps(nested_model()) == {
        "backbone": (None, 6, 6, 4),
        "backbone/stem": (None, 6, 6, 4),
        "backbone/stack": (None, 6, 6, 4),
        "backbone/stack/act": (None, 6, 6, 4),
        "flatten": (None, 144),
    }


def test_only_what_runs_once_is_listed():
    image = keras.Input((8, 8, 1), name="image")
    shared = keras.layers.ReLU(name="shared")
    x = keras.layers.Conv2D(1, 1, name="conv")(shared(shared(image)))
    model = keras.Model(image, {"x": x}, name="inner")
    outer = keras.Model(image, model(image)["x"])
    shape = (None, 8, 8, 1)
    assert list_taps(outer) == {"inner/conv": shape, "inner:x": shape}
    with pytest.raises(ValueError, match="input shape of 'unbuilt' is unknown"):
        list_taps(SubclassedCNN(name="unbuilt"))


def test_entries_of_dictionaries_are_listed():
    image = keras.Input((8, 8, 1))
    model = keras.Model(image, TwoMaps(name="neck")(image))
    assert list_taps(model) == {"neck:P3": (None, 8, 8, 1), "neck:P4": (None, 4, 4, 1)}


def functional(size=8, outputs=lambda x: x, **policy):
    image = keras.Input((size, size, 1), name="image")
    x = keras.layers.Conv2D(4, 3, strides=2, name="features", **policy)(image)
    maps = TwoMaps(name="maps")(x)
    return keras.Model({"image": image}, outputs(keras.layers.Flatten()(maps["P3"])))


@pytest.mark.parametrize(
    "model",
    [
        functional(),
        functional(dtype="mixed_float16"),
        functional(outputs=lambda x: [x]),
        functional(outputs=lambda x: {"logits": x, "size": x[:, :1]}),
    ],
    ids=["tensor", "half precision", "list", "dictionary"],
)
def test_specs_of_a_functional_model_are_those_of_its_forward_pass(model, images):
    taps = ["features", "maps", "maps:P4"]
    taps += [":size"] if isinstance(model.output, dict) else [None]
    batch = {"image": images, "other": images}
    # A model that was called elsewhere has outputs in another graph, too.
    model(keras.Input((8, 8, 1)))
    # The features are float16, so its output is, too.
    found = output_specs(model, {**input_spec(model), "other": None}, taps)
    expected = call_with_taps(model, batch, taps, training=False)
    keras.tree.assert_same_structure(found, expected)
    for ours, real in zip(*map(keras.tree.flatten, (found, expected)), strict=True):
        assert ours.shape == (None, *real.shape[1:])
        assert ours.dtype == keras.backend.standardize_dtype(real.dtype)


def test_specs_of_a_functional_model_of_any_size():
    image = keras.Input((None, None, 1))
    model = keras.Model(image, keras.layers.Conv2D(4, 3, name="features")(image))
    spec = keras.KerasTensor((None, 10, 8, 1))
    outputs, features = output_specs(model, spec, ["features"])
    assert outputs.shape == features["features"].shape == (None, 8, 6, 4)


def test_a_call_of_a_subclass_counts():
    class Halved(keras.Model):
        def call(self, inputs, **kwargs):
            return super().call(inputs, **kwargs)[:, :5]

    base = small_cnn(4)
    model = Halved(base.inputs, base.outputs[0])
    outputs, _ = output_specs(model, input_spec(model), ["features"])
    assert outputs.shape == (None, 5)
