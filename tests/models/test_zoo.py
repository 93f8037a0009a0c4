import keras
import numpy as np
import pytest
from helpers.keras_files import classes_not_of_keras

from keras_diffkd.models import build_model
from keras_diffkd.models.zoo import CLASSIFIERS

# Deep models take long to build; the others have all that they are made of. The shapes
# of their stages are checked where their parameters are counted.
DEEP = ("resnet110", "resnet56", "resnet34", "resnet32x4", "wrn_40_1", "wrn_40_2")
QUICK = [name for name in CLASSIFIERS if name not in DEEP]


def input_shape(name):
    sizes = {"digits": (8, 8, 1), "fashion": (28, 28, 1)}
    return sizes.get(name.split("_")[0], (32, 32, 3))


@pytest.mark.parametrize("name", QUICK)
def test_names_shapes_and_file(name, rng, tmp_path):
    model = build_model(name, input_shape(name), 7)
    assert model.name == name
    assert model.input.name == "image"
    assert model.layers[-1].name == "logits"
    assert model.output_shape == (None, 7)

    # `features` is what the classifier sees: after the last activation, and nothing
    # but pooling and the dense layer comes after it.
    features = model.get_layer("features").output
    x = rng.normal(size=(2, *input_shape(name))).astype("float32")
    maps, logits = keras.Model(model.input, [features, model.output])(x)
    assert len(maps.shape) == 4
    maps = np.array(maps)
    assert np.min(maps) == 0
    assert np.max(maps) > 0
    kernel, bias = model.get_layer("logits").get_weights()
    expected = np.mean(maps, axis=(1, 2)) @ kernel + bias
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)

    model.save(tmp_path / "model.keras")
    assert not classes_not_of_keras(tmp_path / "model.keras")


@pytest.mark.parametrize("name", ["resnet8x4", "wrn_16_2", "digits_student"])
def test_logits_are_float32_under_any_policy(name):
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = build_model(name, input_shape(name), 7)
    assert model.output.dtype == "float32"
    assert model.get_layer("features").output.dtype == "bfloat16"


def test_input_size_may_be_open():
    model = build_model("resnet8x4", (None, None, 3), 7)
    assert model.output_shape == (None, 7)
    assert model(np.zeros((1, 20, 12, 3))).shape == (1, 7)


def test_weights_differ_from_build_to_build():
    first, second = (build_model("digits_student", (8, 8, 1), 10) for _ in range(2))
    assert (first.get_weights()[0] != second.get_weights()[0]).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("resnet57", (32, 32, 3), 10), "'resnet57'. Did you mean 'resnet56'"),
        (("zzz", (32, 32, 3), 10), "'zzz'. Expected a model of the zoo: .*wrn_40_1"),
        (("resnet20", (32, 32), 10), r"Received: \(32, 32\)"),
        (("resnet20", (32, 32, None), 10), "`input_shape` must be"),
        (("resnet20", (32, 32, 3), 0), "`num_classes` must be.*Received: 0"),
        (("resnet20", (32, 32, 3), 2.5), "`num_classes` must be.*Received: 2.5"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        build_model(*arguments)
