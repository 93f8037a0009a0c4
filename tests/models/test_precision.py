import keras
import numpy as np
import pytest
from helpers.small_models import SubclassedCNN, small_cnn, weights_of

from keras_diffkd.models import with_dtype_policy


def test_computes_in_half_precision_with_the_same_weights(rng):
    model = small_cnn(8)
    x = rng.normal(size=(4, 8, 8, 1)).astype("float32")
    before = weights_of(model)
    copy = with_dtype_policy(model, "mixed_bfloat16")

    policies = {layer.name: layer.dtype_policy.name for layer in copy.layers[1:]}
    assert policies.pop("logits") == "float32"
    assert set(policies.values()) == {"mixed_bfloat16"}
    assert keras.backend.standardize_dtype(copy(x).dtype) == "float32"
    for old, new, unchanged in zip(
        before, weights_of(copy), weights_of(model), strict=True
    ):
        assert new.dtype == "float32"
        np.testing.assert_array_equal(new, old)
        np.testing.assert_array_equal(unchanged, old)
    assert {layer.dtype_policy.name for layer in model.layers} == {"float32"}
    difference = np.abs(np.array(copy(x)) - np.array(model(x)))
    assert 0 < difference.max() < 0.05
    assert keras.config.dtype_policy().name == "float32"


def test_and_back(rng):
    model = small_cnn(8)
    x = rng.normal(size=(4, 8, 8, 1)).astype("float32")
    there = with_dtype_policy(model, "mixed_float16")
    back = with_dtype_policy(there, "float32")
    np.testing.assert_array_equal(back(x), model(x))


def test_outputs_inside_nested_models_are_float32(rng):
    image = keras.Input((8, 8, 1))
    nested = keras.Model(image, small_cnn(8, name="inner")(image))
    copy = with_dtype_policy(nested, "mixed_bfloat16")
    inner = copy.get_layer("inner")
    assert inner.get_layer("logits").compute_dtype == "float32"
    assert inner.get_layer("features").compute_dtype == "bfloat16"


def test_subclassed_models(rng):
    model = SubclassedCNN()
    x = rng.normal(size=(4, 8, 8, 1)).astype("float32")
    expected = np.array(model(x))
    copy = with_dtype_policy(model, "mixed_bfloat16")
    assert copy.head.compute_dtype == "bfloat16"
    outputs = keras.ops.convert_to_numpy(keras.ops.cast(copy(x), "float32"))
    np.testing.assert_allclose(outputs, expected, atol=0.05)


def test_a_model_without_config_is_refused():
    class NoConfig(SubclassedCNN):
        def get_config(self):
            raise NotImplementedError("no config")

    model = NoConfig()
    model.build((None, 8, 8, 1))
    with pytest.raises(NotImplementedError, match="no config"):
        with_dtype_policy(model, "mixed_bfloat16")
