import keras
import numpy as np
import pytest

from keras_diffkd.features.surgery import with_replaced_layer


class Bare(keras.layers.Layer):
    """A layer that does not say what it was made with."""

    def __init__(self, units):
        super().__init__()
        self.dense = keras.layers.Dense(units)

    def call(self, x):
        return self.dense(x)


def relu_version(model, path):
    return with_replaced_layer(
        model,
        path,
        make=lambda old: keras.layers.Dense.from_config(
            {**old.get_config(), "activation": "relu"}
        ),
        fill=lambda old, new: new.set_weights(old.get_weights()),
    )


def model_with(first, trainable=True):
    x = keras.Input((3,))
    shared = keras.layers.Dense(3, name="shared")
    inner = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3, name="fc")])
    inner.trainable = trainable
    inner.add(shared)
    return keras.Model(x, shared(inner(first(x))), name="outer"), inner


def test_everything_else_is_copied(rng):
    model, inner = model_with(keras.layers.BatchNormalization(), trainable=False)
    for variable in model.variables:
        variable.assign(rng.uniform(0.5, 1.5, variable.shape))
    copy = relu_version(model, f"{inner.name}/fc")
    # The layer that both the inner and the outer model use is one in the copy too.
    assert len(copy.variables) == len(model.variables)
    x = rng.normal(size=(4, 3)).astype("float32")
    normalized = model.layers[1](x, training=False)
    hidden = np.maximum(inner.get_layer("fc")(normalized), 0)
    shared = model.get_layer("shared")
    np.testing.assert_allclose(
        copy(x, training=False), shared(shared(hidden)), rtol=1e-5
    )
    flags = [v.trainable for v in model.weights]
    assert [v.trainable for v in copy.weights] == flags
    assert not copy.get_layer(inner.name).trainable
    assert [type(layer) for layer in copy.layers] == [type(l) for l in model.layers]  # noqa: E741
    assert [layer.name for layer in copy.layers] == [l.name for l in model.layers]  # noqa: E741


def test_models_that_cannot_be_rebuilt():
    model, inner = model_with(Bare(3))
    with pytest.raises(ValueError, match=r"Keras can rebuild.*Functional 'outer'"):
        relu_version(model, f"{inner.name}/fc")
    bare = next(layer for layer in model.layers if isinstance(layer, Bare))
    with pytest.raises(ValueError, match=r"Received: Bare"):
        relu_version(model, f"{bare.name}/{bare.dense.name}")
    with pytest.raises(ValueError, match="has no layer 'sequential/fd'"):
        relu_version(model, f"{inner.name}/fd")
