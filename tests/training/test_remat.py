"""Gradient checkpointing in a student, against Keras's own training without it.

With it, Keras's own fails or goes wrong where a block draws or assigns: it finds other
random numbers in the second run (TensorFlow, PyTorch), or refuses (JAX).
"""

import contextlib
import importlib

import keras
import numpy as np
import pytest

from keras_diffkd import Distiller, FitNet
from keras_diffkd.training import checkpointing

BACKEND = keras.backend.backend()
MODES = {"tensorflow": [False, True], "jax": [True], "torch": [False]}[BACKEND]
modes = pytest.mark.parametrize("jit_compile", MODES)
torch_too = pytest.mark.backend("tensorflow", "jax", "torch")


class Block(keras.layers.Layer):
    """Layers that are computed anew for their gradients."""

    def __init__(self, width, middle=None, early=False, remat=True, **kwargs):
        super().__init__(**kwargs)
        self.inner = keras.layers.Dense(width, activation="relu", name="inner")
        self.middle = middle() if middle else keras.layers.Activation("tanh")
        self.outer = keras.layers.Dense(width, activity_regularizer="l2")
        self.remat = keras.remat if remat else lambda f: f
        self.early = self.remat(self.compute) if early else None

    def build(self, shape):
        shape = (*shape[:-1], self.inner.units)
        self.inner.build((*shape[:-1], 6))
        self.middle.build(shape)
        self.outer.build(shape)

    def compute(self, x):
        return self.outer(self.middle(self.inner(x)))

    def call(self, x):
        return (self.early or self.remat(self.compute))(x)


class GlobalNoise(keras.layers.Layer):
    """Adds noise of no generator of its own."""

    def call(self, x, training=False):
        return x + keras.random.normal(keras.ops.shape(x)) if training else x


class Nested(Block):
    """A checkpointed block inside a checkpointed block."""

    def compute(self, x):
        return self.outer(self.remat(lambda t: self.middle(self.inner(t)))(x))


class Closure(Block):
    """Its checkpointed function closes over a tensor that depends on weights."""

    def call(self, x):
        hidden = self.inner(x)
        return self.remat(lambda t: self.outer(self.middle(t * hidden)))(x[:, :1])


class Split(Block):
    """Its checkpointed function takes a keyword and gives integers, too."""

    def call(self, x):
        def compute(x, *, scale):
            x = self.compute(x) * scale
            return keras.ops.argmax(x, axis=-1), {"x": x}

        return self.remat(compute)(x, scale=2.0)[1]["x"]


def student(block=Block, **kwargs):
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)
    image = keras.Input((6,))
    outputs = keras.layers.Dense(3)(block(4, name="features", **kwargs)(image))
    return keras.Model(image, outputs)


def train(model, **mode):
    x = np.random.default_rng(0).normal(size=(64, 6)).astype("float32")
    y = (x[:, 0] > 0).astype("int32")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1), loss, **mode)
    keras.utils.set_random_seed(1)
    model.fit(x, y, batch_size=16, shuffle=False, verbose=0)
    return model.predict(x, verbose=0)


def check_same(plain, ours, jit_compile):
    expected = train(plain, jit_compile=jit_compile)
    received = train(Distiller(None, ours, []), jit_compile=jit_compile)
    for a, b in zip(plain.variables, ours.variables, strict=True):
        a, b = keras.ops.convert_to_numpy(a), keras.ops.convert_to_numpy(b)
        np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(received, expected, rtol=1e-4, atol=1e-5)


@torch_too
@pytest.mark.parametrize("early", [False, True])
@modes
def test_a_checkpointed_block_trains_as_without(jit_compile, early):
    check_same(student(remat=False), student(early=early), jit_compile)


def restless():
    """Returns layers that draw and assign; those that Keras's own JAX step can run."""
    layers = [
        keras.layers.Dropout(0.5, seed=3),
        keras.layers.BatchNormalization(),
        keras.layers.GaussianNoise(0.5, seed=3),
    ]
    if BACKEND != "jax":
        layers += [
            GlobalNoise(),
            keras.layers.SpectralNormalization(keras.layers.Dense(4)),
        ]
    return keras.Sequential(layers)


@torch_too
@modes
def test_what_a_block_draws_and_assigns(jit_compile):
    plain, ours = (student(remat=remat, middle=restless) for remat in (False, True))
    check_same(plain, ours, jit_compile)


def dropout():
    return keras.layers.Dropout(0.5, seed=3)


@torch_too
@pytest.mark.parametrize("block", [Nested, Closure, Split])
def test_functions_of_all_sorts(block):
    models = [student(block, remat=remat, middle=dropout) for remat in (False, True)]
    check_same(*models, MODES[0])


class Recurrent(keras.layers.Layer):
    """Its checkpointed function sees the mask of what it takes."""

    def __init__(self, width, remat, **kwargs):
        super().__init__(**kwargs)
        self.masking = keras.layers.Masking()
        self.recurrent = keras.layers.GRU(width)
        self.remat = keras.remat if remat else lambda f: f

    def build(self, shape):
        self.recurrent.build((None, 3, 2))

    def call(self, x):
        x = self.masking(keras.ops.reshape(keras.ops.relu(x), (-1, 3, 2)))
        return self.remat(lambda t: self.recurrent(t))(x)


@torch_too
def test_masks_reach_the_layers_in_a_block():
    models = [student(Recurrent, remat=remat) for remat in (False, True)]
    check_same(*models, MODES[0])


SCOPES = {
    "full": {},
    "larger_than": {"output_size_threshold": 2},
    "list_of_layers": {"layer_names": ["wide", "dropout", "normalization", "inner"]},
    "activations": {},
}


def scoped(scope):
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)
    x = image = keras.Input((6,))
    with scope:
        x = keras.layers.Dense(8, activation="relu", name="wide")(x)
        x = keras.layers.Dropout(0.3, seed=3, name="dropout")(x)
        x = keras.layers.BatchNormalization(name="normalization")(x)
        inside = keras.Input((8,))
        inner = keras.layers.Dense(8, activation="relu", name="features")(inside)
        x = keras.Model(inside, inner, name="inner")(x)
    return keras.Model(image, keras.layers.Dense(3)(x))


@torch_too
@pytest.mark.parametrize("name", SCOPES)
def test_remat_scope(name):
    scope = keras.RematScope(name, **SCOPES[name])
    check_same(scoped(contextlib.nullcontext()), scoped(scope), MODES[0])


@torch_too
@modes
def test_its_output_can_be_tapped(jit_compile):
    model = student()
    before = model.get_weights()
    distiller = Distiller(student(), model, [FitNet("features", "features")])
    distiller.task_loss_weight = 0.0
    train(distiller, jit_compile=jit_compile)
    for a, b in zip(before[:4], model.get_weights()[:4], strict=True):
        assert np.abs(a - b).max() > 0


def tapped_inside(**kwargs):
    methods = [FitNet("features", "features/inner")]
    return Distiller(student(), student(**kwargs), methods)


@pytest.mark.backend("tensorflow", "jax")
def test_a_tap_inside_is_refused_by_name():
    with pytest.raises(ValueError, match="'features/inner' runs inside a block under"):
        train(tapped_inside())


def test_only_the_backend_in_use_replaces_checkpoints(monkeypatch):
    replaced = []
    monkeypatch.setattr(checkpointing, "replace_checkpoint", replaced.append)
    for name in ("jax", "torch", "tensorflow"):
        with contextlib.suppress(ImportError):
            importlib.reload(
                importlib.import_module(f"keras_diffkd.training.{name}.gradients")
            )
    assert not replaced
    checkpointing.install(lambda scope, f, args, kwargs: f(*args, **kwargs))
    assert len(replaced) == 1


@pytest.mark.backend("torch")
def test_a_tap_inside_trains_on_torch():
    plain, ours = tapped_inside(remat=False), tapped_inside()
    for distiller in (plain, ours):
        train(distiller)
    for a, b in zip(plain.student.weights, ours.student.weights, strict=True):
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(b), keras.ops.convert_to_numpy(a), rtol=1e-4
        )
