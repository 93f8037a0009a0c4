"""Masks of outputs last through the step: metrics leave padding out, as in Keras."""

import keras
import numpy as np
import pytest

from keras_diffkd import Distiller
from keras_diffkd.training.masks import masked, with_masks

MODES = {"plain": {"jit_compile": False}, "compiled": {"jit_compile": True}}
if keras.backend.backend() == "torch":
    MODES = {"plain": {"jit_compile": False}}


def tagger():
    tokens = keras.Input((9,), dtype="int32")
    x = keras.layers.Embedding(20, 8, mask_zero=True)(tokens)
    return keras.Model(tokens, keras.layers.Dense(4)(x))


@pytest.fixture
def sentences(rng):
    tokens = rng.integers(1, 20, (64, 9))
    tags = tokens % 4
    for sentence, length in enumerate(rng.integers(2, 9, 64)):
        tokens[sentence, length:] = 0
        tags[sentence, length:] = 3
    return tokens, tags


def train(model, tokens, tags, learning_rate, **arguments):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    arguments |= {"metrics": ["accuracy"], "weighted_metrics": ["accuracy"]}
    model.compile(keras.optimizers.SGD(learning_rate), loss, **arguments)
    return model.fit(
        tokens,
        tags,
        batch_size=16,
        epochs=2,
        validation_data=(tokens, tags),
        shuffle=False,
        verbose=0,
    ).history


@pytest.mark.parametrize("mode", MODES)
def test_padding_is_in_no_metric(sentences, mode):
    tokens, tags = sentences
    student = tagger()
    right = student.predict(tokens, verbose=0).argmax(-1) == tags
    accuracy = right[tokens != 0].mean()
    assert abs(accuracy - right.mean()) > 0.01
    history = train(Distiller(None, student, []), *sentences, 0.0, **MODES[mode])
    for name in ("accuracy", "weighted_accuracy", "val_accuracy"):
        np.testing.assert_allclose(history[name], accuracy, rtol=1e-5, err_msg=name)


# Plain Keras loses the mask in training on JAX.
@pytest.mark.backend("tensorflow")
@pytest.mark.parametrize("mode", MODES)
def test_padding_is_left_out_as_plain_keras_does(sentences, mode):
    student = tagger()
    plain = keras.models.clone_model(student)
    plain.set_weights(student.get_weights())
    theirs = train(plain, *sentences, 0.5, jit_compile=False)
    ours = train(Distiller(None, student, []), *sentences, 0.5, **MODES[mode])
    for name, values in theirs.items():
        np.testing.assert_allclose(ours[name], values, rtol=1e-4, err_msg=name)


def test_a_mask_is_put_back_on_a_copy():
    outputs = {"tags": keras.ops.ones((2, 3)), "scores": keras.ops.ones((2, 3))}
    mask = keras.ops.array([True, False])
    masked({"tags": outputs["tags"], "scores": outputs["scores"]}, [None, mask])
    _, masks = with_masks(outputs)
    assert sum(m is not None for m in masks) == 1
    copies = {name: value + 0 for name, value in outputs.items()}
    assert with_masks(copies)[1] == [None, None]
    _, put_back = with_masks(masked(copies, masks))
    assert [m is None for m in put_back] == [m is None for m in masks]
