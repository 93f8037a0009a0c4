"""Gradient checkpointing (`keras.remat`) in a student, against Keras's own training."""

import keras
import numpy as np
import pytest

from keras_diffkd import Distiller, FitNet

# On JAX, what a layer in such a block adds to the loss leaks, in plain Keras too.
REGULARIZER = None if keras.backend.backend() == "jax" else "l2"


class Block(keras.layers.Layer):
    """Two layers that are computed anew for their gradients."""

    def __init__(self, width, wrapped_early=False, **kwargs):
        super().__init__(**kwargs)
        self.inner = keras.layers.Dense(width, activation="relu", name="inner")
        self.outer = keras.layers.Dense(width, activity_regularizer=REGULARIZER)
        self.early = keras.remat(self.compute) if wrapped_early else None

    def build(self, shape):
        self.inner.build(shape)
        self.outer.build((*shape[:-1], self.inner.units))

    def compute(self, x):
        return self.outer(self.inner(x))

    def call(self, x):
        return (self.early or keras.remat(self.compute))(x)


def student(early=False, remat=True):
    keras.utils.set_random_seed(0)
    image = keras.Input((6,))
    block = Block(4, early, name="features")
    if not remat:
        block.call = block.compute
    return keras.Model(image, keras.layers.Dense(3)(block(image)))


def train(model, **mode):
    x = np.random.default_rng(0).normal(size=(64, 6)).astype("float32")
    y = (x[:, 0] > 0).astype("int32")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1), loss, **mode)
    model.fit(x, y, batch_size=16, shuffle=False, verbose=0)


# On JAX, a function wrapped in `__init__` moves no weight, in plain Keras neither.
@pytest.mark.parametrize(
    "early", [False, pytest.param(True, marks=pytest.mark.backend("tensorflow"))]
)
@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_checkpointed_block_trains_as_without(jit_compile, early):
    # Without `remat`: Keras's own training loses the regularization in a block.
    plain, ours = student(remat=False), student(early)
    train(plain, jit_compile=jit_compile)
    train(Distiller(None, ours, []), jit_compile=jit_compile)
    for a, b in zip(plain.weights, ours.weights, strict=True):
        np.testing.assert_allclose(np.array(b), np.array(a), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_its_output_can_be_tapped(jit_compile):
    model = student()
    before = model.get_weights()
    distiller = Distiller(student(), model, [FitNet("features", "features")])
    distiller.task_loss_weight = 0.0
    train(distiller, jit_compile=jit_compile)
    for a, b in zip(before[:4], model.get_weights()[:4], strict=True):
        assert np.abs(a - b).max() > 0


@pytest.mark.backend("tensorflow")
def test_a_tap_inside_is_refused_by_name():
    methods = [FitNet("features", "features/inner")]
    distiller = Distiller(student(), student(), methods)
    with pytest.raises(ValueError, match="'features/inner' runs inside a block under"):
        train(distiller)
