import types

import keras
import numpy as np
import pytest
from helpers.threads import OtherThread
from keras.src.backend import core

from keras_diffkd.keras_private.patches import (
    Patch,
    replace_checkpoint,
    scaled_losses,
    watched_weights,
)


def build():
    keras.layers.Dense(2).build((None, 4))


def mean_squared_error():
    loss = keras.losses.MeanSquaredError()
    return float(loss(np.zeros((1, 2)), np.array([[1.0, 3.0]])))


def test_each_thread_sees_its_own_replacements():
    owner = types.SimpleNamespace(double=lambda x: 2 * x)
    original = owner.double
    patch = Patch(owner, "double")
    with OtherThread(patch.by(lambda double, x: double(x) + 1)) as other:
        assert owner.double(5) == 10
        with patch.by(lambda double, x: -double(x)):
            assert owner.double(5) == -10
            assert other.run(lambda: owner.double(5)) == 11
            other.leave()  # The first to enter is the first to leave.
            assert owner.double(5) == -10
            with patch.by(lambda double, x: 10 * double(x)):
                assert owner.double(5) == -100
        assert owner.double is original


def test_a_patch_ends_with_an_error():
    owner = types.SimpleNamespace(double=lambda x: 2 * x)
    original = owner.double
    with pytest.raises(InterruptedError), Patch(owner, "double").by(None):
        raise InterruptedError
    assert owner.double is original


def test_losses_are_scaled():
    assert mean_squared_error() == 5
    with scaled_losses(lambda value: 3 * value, lambda value: value / 3):
        assert mean_squared_error() == 15
    assert mean_squared_error() == 5


def test_logs_of_several_losses_are_not_scaled():
    image = keras.Input((3,))
    outputs = [keras.layers.Dense(2, name=name)(image) for name in "ab"]
    model = keras.Model(image, outputs)
    model.compile(loss=["mse", "mae"], run_eagerly=True)
    data = np.ones((4, 3)), [np.ones((4, 2)), np.zeros((4, 2))]
    plain = model.evaluate(*data, return_dict=True, verbose=0)
    with scaled_losses(lambda value: 3 * value, lambda value: value / 3):
        scaled = model.evaluate(*data, return_dict=True, verbose=0)
    assert {"a_loss", "b_loss"} <= set(plain)
    for name in ("a_loss", "b_loss"):
        assert scaled[name] == pytest.approx(plain[name], rel=1e-5)


def test_two_threads_scale_losses():
    with OtherThread(scaled_losses(lambda x: 2 * x, lambda x: x / 2)) as other:
        assert mean_squared_error() == 5
        with scaled_losses(lambda x: 3 * x, lambda x: x / 3):
            assert other.run(mean_squared_error) == 10
            other.leave()
            assert mean_squared_error() == 15
    assert mean_squared_error() == 5


def test_weights_are_seen_before_they_are_made():
    seen = []
    with watched_weights(seen.append):
        build()
        keras.metrics.MeanIoU(3)
    build()
    assert seen == [(4, 2), (2,), (3, 3)]

    def refuse(shape):
        raise MemoryError

    layer = keras.layers.Dense(2)
    with pytest.raises(MemoryError), watched_weights(refuse):
        layer.build((None, 4))
    assert layer.weights == []


def test_two_threads_watch_weights():
    add_weight = keras.Layer.add_weight
    here, there = [], []
    with OtherThread(watched_weights(there.append)) as other:
        with watched_weights(here.append):
            other.run(build)
            assert (here, there) == ([], [(4, 2), (2,)])
            other.leave()
            build()
            assert here == there
        assert keras.Layer.add_weight is add_weight
    build()
    assert len(here) == len(there) == 2


def test_checkpoints_of_layers_made_before_are_replaced(monkeypatch):
    monkeypatch.setattr(core, "remat", core.remat)  # It is restored after the test.
    with keras.RematScope(mode="full"):
        layer = keras.layers.Dense(2)
    calls = []

    def make(of_keras):
        def checkpoint(function):
            calls.append(function)
            return of_keras(function)

        return checkpoint

    replace_checkpoint(make)
    outputs = layer(np.ones((1, 3)))
    assert outputs.shape == (1, 2)
    assert len(calls) == 1
