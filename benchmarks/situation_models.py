"""Small students for situations in which plain Keras and a `Distiller` must agree."""

import keras
import numpy as np

L = keras.layers
CLASSES = 3
SIZE = 48


def vectors():
    """Returns 48 vectors of six numbers and labels that depend on them."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(SIZE, 6)).astype("float32")
    return x, (x[:, :3].argmax(axis=1)).astype("int32")


def images():
    """Returns 48 images of 8x8 pixels and labels."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(SIZE, 8, 8, 2)).astype("float32")
    return x, (np.arange(SIZE) % CLASSES).astype("int32")


def sentences():
    """Returns 48 padded sequences of tokens and a label for every token."""
    rng = np.random.default_rng(2)
    x = rng.integers(1, 20, (SIZE, 9)).astype("int32")
    for row, length in enumerate(rng.integers(2, 9, SIZE)):
        x[row, length:] = 0
    return x, x % CLASSES


def mlp(between=None, units=8, outputs=None, **dense):
    """Returns a classifier of vectors with the layer `features`.

    Args:
        between: Layers after the hidden one, called in turn.
        units: Integer, width of the hidden layer.
        outputs: Callable from the last feature to the outputs.
        **dense: Arguments of the hidden layer.
    """
    inputs = keras.Input((6,), name="x")
    x = L.Dense(units, activation="tanh", name="hidden", **dense)(inputs)
    for layer in between or ():
        x = layer(x)
    x = L.Dense(units, activation="relu", name="features")(x)
    return keras.Model(inputs, outputs(x) if outputs else L.Dense(CLASSES)(x))


def cnn(between=()):
    """Returns a classifier of images with the layer `features`."""
    inputs = keras.Input((8, 8, 2))
    x = L.Conv2D(4, 3, name="conv")(inputs)
    for layer in between:
        x = layer(x)
    x = L.ReLU(name="features")(x)
    return keras.Model(inputs, L.Dense(CLASSES)(L.GlobalAveragePooling2D()(x)))


def tagger(mask_zero=True, between=()):
    """Returns a classifier of every token of a sequence."""
    inputs = keras.Input((9,), dtype="int32")
    x = L.Embedding(20, 8, mask_zero=mask_zero)(inputs)
    for layer in between:
        x = layer(x)
    x = L.Dense(8, name="features")(x)
    return keras.Model(inputs, L.Dense(CLASSES)(x))


@keras.saving.register_keras_serializable(package="situations")
class Block(L.Layer):
    """Two dense layers, whose activations are computed again if asked to."""

    def __init__(self, recompute=False, **kwargs):
        super().__init__(**kwargs)
        self.recompute = recompute
        self.first = L.Dense(8, activation="relu")
        self.second = L.Dense(8)

    def build(self, shape):
        self.first.build(shape)
        self.second.build((*shape[:-1], 8))

    def call(self, x):
        def block(x):
            return self.second(self.first(x))

        return keras.remat(block)(x) if self.recompute else block(x)


@keras.saving.register_keras_serializable(package="situations")
class GlobalNoise(L.Layer):
    """Adds noise drawn without a `SeedGenerator`."""

    def call(self, x, training=False):
        return x + 0.1 * keras.random.normal(keras.ops.shape(x)) if training else x


@keras.saving.register_keras_serializable(package="situations")
class Branch(L.Layer):
    """Drops features out in one branch of a condition."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dropout = L.Dropout(0.5)

    def call(self, x, training=False):
        def dropped():
            return self.dropout(x, training=training)

        return keras.ops.cond(keras.ops.mean(x) > -9, dropped, lambda: x)


class Counter(L.Layer):
    """Counts its calls, and adds a loss of its own."""

    def build(self, shape):
        self.calls = self.add_weight(
            shape=(), initializer="zeros", trainable=False, name="calls"
        )

    def call(self, x, training=False):
        if training:
            self.calls.assign(self.calls + 1)
            self.add_loss(1e-2 * keras.ops.mean(keras.ops.square(x)))
        return x


@keras.saving.register_keras_serializable(package="situations")
class Clipped(L.Layer):
    """Clips its kernel while it runs, as some GANs do."""

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], shape[-1]), name="kernel")

    def call(self, x):
        self.kernel.assign(keras.ops.clip(self.kernel, -0.2, 0.2))
        return keras.ops.matmul(x, self.kernel)


@keras.saving.register_keras_serializable(package="situations")
class Subclassed(keras.Model):
    """A classifier without a graph of layers."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.features = L.Dense(8, activation="relu", name="features")
        self.dropout = L.Dropout(0.5)
        self.head = L.Dense(CLASSES)

    def call(self, x, training=False):
        return self.head(self.dropout(self.features(x), training=training))


def subclassed():
    """Returns a built `Subclassed`."""
    model = Subclassed()
    model.build((None, 6))
    return model


class Batches(keras.utils.PyDataset):
    """The vectors, in batches of 16."""

    def __len__(self):
        return SIZE // 16

    def __getitem__(self, index):
        return tuple(part[16 * index : 16 * index + 16] for part in vectors())


def generator():
    """Yields the vectors, in batches of 16, again and again."""
    while True:
        yield from (Batches()[index] for index in range(3))
