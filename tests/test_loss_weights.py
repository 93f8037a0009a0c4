"""Weights of losses that change while a step is traced already."""

import keras
import numpy as np
import pytest
from small_models import cross_entropy, random_batch, small_cnn

from keras_diffkd import Distiller, LogitsKD

MODES = {"plain": {}, "compiled": {"jit_compile": True}}
if keras.backend.backend() == "torch":
    MODES = {"plain": {}}


class Anneal(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        self.model.task_loss_weight = float(epoch == 0)
        self.model.methods[0].weight = (1.0, 100.0)[epoch]


def make_distiller(**arguments):
    keras.utils.set_random_seed(0)
    distiller = Distiller(small_cnn(12), small_cnn(6), [LogitsKD()])
    distiller.compile(
        keras.optimizers.SGD(0.01), cross_entropy(), preflight=False, **arguments
    )
    return distiller


def train(distiller, data, **arguments):
    return distiller.fit(*data, batch_size=8, shuffle=False, verbose=0, **arguments)


@pytest.fixture
def data(rng):
    return random_batch(rng, 16)


@pytest.mark.parametrize("mode", MODES)
def test_a_weight_that_a_callback_changes_takes_effect(data, mode):
    distiller = make_distiller(**MODES[mode])
    history = train(distiller, data, epochs=2, callbacks=[Anneal()]).history
    loss, task, distilled = (
        np.array(history[name]) for name in ("loss", "task_loss", "kd/distill")
    )
    np.testing.assert_allclose(loss[0], task[0] + distilled[0], rtol=1e-5)
    np.testing.assert_allclose(loss[1], 100 * distilled[1], rtol=1e-5)


def test_a_changed_weight_trains_as_if_it_had_been_there_from_the_start(data):
    changed, new = make_distiller(), make_distiller()
    train(changed, data)
    train(new, data)
    changed.task_loss_weight = 0.5
    new.task_loss_weight = 0.5
    new.compile(new.optimizer, cross_entropy(), preflight=False)  # Traces anew.
    train(changed, data)
    train(new, data)
    for a, b in zip(
        changed.student.get_weights(), new.student.get_weights(), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_a_wrong_weight_is_named_before_the_step(data):
    distiller = make_distiller()
    distiller.methods[0].weight = float("nan")
    with pytest.raises(ValueError, match="weight of kd/distill.*Received.*nan"):
        train(distiller, data)
