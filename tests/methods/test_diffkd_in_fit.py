"""DiffKD's options under `fit`: what a user combines."""

import keras
import numpy as np
import pytest
from helpers.small_models import cross_entropy, random_batch

from keras_diffkd import DiffKD, Distiller


def cnn(width):
    """Maps of 4x4 (`middle`) and 2x2 (`last`)."""
    image = keras.Input((8, 8, 1))
    x = image
    for name, channels in (("middle", width), ("last", 2 * width)):
        x = keras.layers.Conv2D(channels, 3, strides=2, padding="same")(x)
        x = keras.layers.ReLU(name=name)(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, keras.layers.Dense(10, name="logits")(x))


def attention(x, width, name):
    normal = keras.layers.LayerNormalization()(x)
    x = x + keras.layers.MultiHeadAttention(2, width // 2)(normal, normal)
    mlp = keras.layers.Dense(2 * width, "gelu")(keras.layers.LayerNormalization()(x))
    return keras.layers.Add(name=name)([x, keras.layers.Dense(width)(mlp)])


def vit(width):
    """16 tokens (`middle`, `last`) without a class token."""
    image = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(width, 2, strides=2)(image)
    x = keras.layers.Reshape((16, width))(x)
    for name in ("middle", "last"):
        x = attention(x, width, name)
    x = keras.layers.GlobalAveragePooling1D()(x)
    return keras.Model(image, keras.layers.Dense(10, name="logits")(x))


def swin(width):
    """16 tokens from windows of 4 (`middle`), merged into 4 tokens (`last`)."""
    image = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(width, 2, strides=2)(image)
    windows = keras.ops.reshape(x, (-1, 2, 2, 2, 2, width))
    windows = keras.ops.transpose(windows, (0, 1, 3, 2, 4, 5))
    x = attention(keras.ops.reshape(windows, (-1, 4, width)), width, "windows")
    x = keras.ops.reshape(x, (-1, 2, 2, 2, 2, width))
    x = keras.ops.transpose(x, (0, 1, 3, 2, 4, 5))
    x = keras.layers.Reshape((16, width), name="middle")(x)
    x = keras.ops.reshape(x, (-1, 2, 2, 2, 2, width))
    x = keras.ops.reshape(
        keras.ops.transpose(x, (0, 1, 3, 2, 4, 5)), (-1, 4, 4 * width)
    )
    x = attention(keras.layers.Dense(2 * width)(x), 2 * width, "last")
    x = keras.layers.GlobalAveragePooling1D()(x)
    return keras.Model(image, keras.layers.Dense(10, name="logits")(x))


FEW = {"num_inference_steps": 1}


def distil(teacher, student, methods, rng, epochs=6):
    """Trains for four steps in each epoch; every loss must fall."""
    keras.utils.set_random_seed(0)
    x, y = random_batch(rng)
    distiller = Distiller(teacher, student, methods, task_loss_weight=0.0)
    distiller.compile(keras.optimizers.Adam(0.01), cross_entropy(), jit_compile=False)
    four = [np.tile(part, (4,) + (1,) * (part.ndim - 1)) for part in (x, y)]
    history = distiller.fit(*four, epochs=epochs, shuffle=False, verbose=0).history
    for method in distiller.methods:
        for name in method.loss_weights:
            values = history[f"{method.name}/{name}"]
            assert values[-1] < values[0], f"{method.name}/{name}"
    np.testing.assert_allclose(distiller.strip()(x), distiller(x), rtol=1e-5, atol=1e-6)
    return history


@pytest.mark.parametrize(("teacher", "student"), [(vit, cnn), (cnn, vit), (swin, swin)])
def test_tokens_and_maps_in_any_combination(teacher, student, rng):
    # Where a map of 4x4 meets 16 tokens: the two grids are the same.
    tap = {vit: "last", swin: "last", cnn: "middle"}
    method = DiffKD(
        tap[teacher], tap[student], latent_channels=8, num_inference_steps=1
    )
    history = distil(teacher(8), student(8), [method], rng)
    assert {"diffkd/distill", "diffkd/reconstruct"} <= set(history)


def test_several_at_once_keep_their_names(rng):
    """A stage, a resize between two, and logits by a name and by a loss of Keras."""
    methods = [
        DiffKD("middle", "middle", latent_channels=8, name="middle", **FEW),
        DiffKD("middle", "last", resize="bilinear", name="resized", **FEW),
        DiffKD(distance="dist", temperature=2.0, name="logits", **FEW),
        DiffKD(distance=keras.losses.Huber(), name="huber", **FEW),
    ]
    history = distil(cnn(8), cnn(4), methods, rng)
    assert {"middle/reconstruct", "resized/distill", "logits/gamma"} <= set(history)
    assert "resized/reconstruct" not in history


def test_any_number_of_steps_without_noise_adaptation(rng):
    methods = [
        DiffKD(
            "last",
            "last",
            num_inference_steps=steps,
            adapt_noise=False,
            name=f"steps_{steps}",
        )
        for steps in (1, 5)
    ]
    history = distil(cnn(8), cnn(4), methods, rng)
    assert not any(name.endswith("gamma") for name in history)


@pytest.mark.parametrize("batch_size", [32, 1])
@pytest.mark.parametrize("form", ["column", "one-hot", "mixup"])
def test_labels_of_every_form_for_dkd(form, batch_size, rng):
    x, labels = random_batch(rng, 32 if batch_size > 1 else 2)
    one_hot = np.eye(10, dtype="float32")[labels]
    y = {
        "column": labels[:, None],
        "one-hot": one_hot,
        # The larger share is the label's own.
        "mixup": 0.7 * one_hot + 0.3 * np.roll(one_hot, 1, axis=0),
    }[form]
    losses = []
    for targets in (labels, y):
        keras.utils.set_random_seed(0)
        method = DiffKD(distance="dkd", num_inference_steps=2, seed=1)
        distiller = Distiller(cnn(8), cnn(4), [method], task_loss_weight=0.0)
        sparse = targets.shape[-1] != 10
        distiller.compile(
            keras.optimizers.SGD(0.01),
            cross_entropy()
            if sparse
            else keras.losses.CategoricalCrossentropy(from_logits=True),
            preflight=False,
            run_eagerly=keras.backend.backend() != "jax",
        )
        logs = distiller.fit(x, targets, batch_size, shuffle=False, verbose=0)
        losses.append(logs.history["diffkd/distill"])
    np.testing.assert_allclose(*losses, rtol=1e-6)
