"""What features are, told by the layers that computed them."""

import keras
import numpy as np
import pytest

from keras_diffkd.features.kinds import channel_axis_of, kind_of
from keras_diffkd.features.specs import list_taps

layers = keras.layers


def kinds(model):
    """Returns `{tap: kind}` of the features of three axes."""
    return {
        tap: kind_of(model, tap, shape)
        for tap, shape in list_taps(model).items()
        if len(shape) == 3
    }


def chain(inputs, *steps):
    x = inputs
    for step in steps:
        x = step(x)
    return keras.Model(inputs, x)


def time_series():
    return chain(
        keras.Input((16, 3)),
        layers.Conv1D(8, 3, padding="same"),
        layers.BatchNormalization(),
        layers.ReLU(name="features"),
        layers.Dense(4, name="dense"),
    )


def recurrent(layer):
    return chain(keras.Input((16, 3)), layer, layers.Dense(4, name="dense"))


def words():
    tokens = keras.Input((None,), dtype="int32")
    x = layers.Embedding(10, 8, mask_zero=True)(tokens)
    x = layers.Add()([x, layers.MultiHeadAttention(2, 4)(x, x)])
    return keras.Model(tokens, layers.LayerNormalization(name="last")(x))


def nested_words():
    tokens = keras.Input((None,), dtype="int32")
    return keras.Model(tokens, layers.Dense(3, name="dense")(words()(tokens)))


class Block(layers.Layer):
    """A layer that hides what is inside."""

    def __init__(self, *inner):
        super().__init__()
        self.inner = inner[0]

    def call(self, x):
        return self.inner(x)


class Patches(layers.Layer):
    """Patches of a map as tokens, as a vision transformer begins."""

    def __init__(self):
        super().__init__()
        self.convolution = layers.Conv2D(6, 2, strides=2)

    def call(self, x):
        x = self.convolution(x)
        return keras.ops.reshape(x, (-1, x.shape[1] * x.shape[2], 6))


def subclassed(*steps):
    class Subclassed(keras.Model):
        def __init__(self):
            super().__init__()
            self.steps = list(steps)

        def build(self, input_shape):
            self.call(keras.KerasTensor(input_shape))

        def call(self, x):
            for step in self.steps:
                x = step(x)
            return x

    return Subclassed()


SEQUENCES = {
    "convolution": time_series,
    "LSTM": lambda: recurrent(layers.LSTM(4, return_sequences=True)),
    "both directions": lambda: recurrent(
        layers.Bidirectional(layers.GRU(4, return_sequences=True))
    ),
    "pooling": lambda: recurrent(layers.MaxPooling1D(4)),
    "for every timestep": lambda: recurrent(layers.TimeDistributed(layers.Dense(2))),
    "words": words,
    "a model in a model": nested_words,
    "an LSTM inside a layer": lambda: recurrent(
        Block(layers.LSTM(4, return_sequences=True))
    ),
    "repeated": lambda: chain(
        keras.Input((3,)), layers.RepeatVector(16), layers.Dense(4)
    ),
    "frames": lambda: chain(
        keras.Input((4, 8, 8, 3)),
        layers.TimeDistributed(layers.Flatten()),
        layers.Dense(4),
    ),
}


@pytest.mark.parametrize("name", SEQUENCES)
def test_sequences(name):
    assert set(kinds(SEQUENCES[name]()).values()) == {"sequence"}


def test_an_image_read_by_columns_is_a_sequence_after_the_lstm():
    model = chain(
        keras.Input((4, 16, 1)),
        layers.Conv2D(4, 3, padding="same"),
        layers.Permute((2, 1, 3)),
        layers.Reshape((16, 16), name="columns"),
        layers.LSTM(4, return_sequences=True, name="lstm"),
    )
    assert kinds(model) == {"columns": None, "lstm": "sequence"}


TOKENS = {
    "reshaped": lambda: (layers.Conv2D(6, 2, strides=2), layers.Reshape((16, 6))),
    "patches": lambda: (Patches(),),
    "attention": lambda: (
        Patches(),
        Block(layers.Dense(6)),
        layers.ZeroPadding1D((1, 0)),
        layers.Cropping1D((1, 0)),
    ),
}


@pytest.mark.parametrize("name", TOKENS)
def test_tokens(name):
    model = chain(keras.Input((8, 8, 3)), *TOKENS[name](), layers.Dense(2))
    assert set(kinds(model).values()) == {"tokens"}


def test_tokens_of_a_map_that_is_not_square():
    model = chain(keras.Input((8, 16, 3)), Patches(), layers.Dense(2, name="last"))
    assert kinds(model)["last"] == "rectangle"


def test_three_axes_from_the_input_on_tell_nothing():
    model = chain(keras.Input((16, 3)), layers.Dense(4, name="dense"))
    assert kinds(model) == {"dense": None}


def test_subclassed_models():
    relu = layers.ReLU(name="relu")
    model = subclassed(layers.Conv1D(4, 3, padding="same"), relu)
    model.build((None, 16, 3))
    assert kind_of(model, "relu", (None, 16, 4)) == "sequence"
    model = subclassed(Patches(), layers.Dense(4, name="dense"))
    model.build((None, 8, 8, 3))
    assert kind_of(model, "dense", (None, 16, 4)) == "tokens"


def test_other_ranks_need_no_telling():
    model = time_series()
    ranks = {2: "vector", 4: "map", 5: "volume", 6: None}
    for rank, kind in ranks.items():
        assert kind_of(model, "features", (None,) * rank) == kind


def channels_first():
    image = keras.Input((3, 8, 8))
    x = layers.MaxPooling2D(data_format="channels_first", name="pool")(image)
    x = layers.BatchNormalization(axis=1, name="norm")(x)
    first = layers.ReLU(name="relu")(x)
    last = layers.Permute((2, 3, 1), name="permuted")(first)
    flat = layers.Reshape((3, 16), name="flat")(first)
    tokens = layers.Permute((2, 1), name="tokens")(flat)
    moved = keras.ops.moveaxis(first, 1, -1)
    moved = layers.Activation("relu", name="moved")(moved)
    turned = keras.ops.transpose(first, (0, 2, 3, 1))
    turned = layers.Activation("relu", name="turned")(turned)
    return keras.Model(image, [last, tokens, moved, turned])


def test_where_the_channels_are():
    model = channels_first()
    found = {
        tap: channel_axis_of(model, tap, shape)
        for tap, shape in list_taps(model).items()
    }
    assert found == {
        "pool": 1,
        "norm": 1,
        "relu": 1,
        "permuted": 3,
        "flat": 1,
        "tokens": 2,
        "moved": 3,
        "turned": 3,
    }
    assert kinds(model) == {"flat": "tokens", "tokens": "tokens"}


def test_channels_last_without_any_sign():
    model = chain(keras.Input((8, 8, 3)), layers.ReLU(name="relu"))
    assert channel_axis_of(model, "relu", (None, 8, 8, 3)) == 3
    model = time_series()
    assert channel_axis_of(model, "features", (None, 16, 8)) == 2


def test_channels_first_sequences():
    model = chain(
        keras.Input((3, 16)),
        layers.AveragePooling1D(2, data_format="channels_first", name="pool"),
        layers.ReLU(name="relu"),
    )
    assert channel_axis_of(model, "relu", (None, 3, 8)) == 1
    assert kinds(model) == {"pool": "sequence", "relu": "sequence"}
    assert np.shape(model(np.zeros((1, 3, 16)))) == (1, 3, 8)
