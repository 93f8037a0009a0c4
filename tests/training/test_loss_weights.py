"""Weights of losses that change while a step is traced already."""

import keras
import numpy as np
import pytest
from helpers.small_models import cross_entropy, random_batch, small_cnn

from keras_diffkd import DKD, DSKD, DiffKD, Distiller, LogitsKD

MODES = {"plain": {}, "compiled": {"jit_compile": True}}
if keras.backend.backend() == "torch":
    MODES = {"plain": {}}


class Anneal(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        self.model.task_loss_weight = float(epoch == 0)
        self.model.methods[0].weight = (1.0, 100.0)[epoch]


def make_distiller(methods=None, **arguments):
    keras.utils.set_random_seed(0)
    distiller = Distiller(small_cnn(12), small_cnn(6), methods or [LogitsKD()])
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


COSINE = keras.optimizers.schedules.CosineDecay


def ramp(steps, weight=1.0):
    return keras.optimizers.schedules.PolynomialDecay(0.0, steps, weight)


class Losses(keras.callbacks.Callback):
    def on_train_begin(self, logs=None):
        self.seen = []

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append(logs)
        self.model.reset_metrics()


@pytest.mark.parametrize("mode", MODES)
def test_a_schedule_is_one_of_the_training_step(data, mode):
    distiller = make_distiller(**MODES[mode])
    distiller.methods[0].weight = ramp(4, 2.0)
    distiller.task_loss_weight = keras.optimizers.schedules.PiecewiseConstantDecay(
        [1], [1.0, 0.5]
    )
    losses = Losses()
    train(distiller, data, epochs=3, callbacks=[losses])
    of_method, of_task = [0.0, 0.5, 1.0, 1.5, 2.0, 2.0], [1.0, 1.0, 0.5, 0.5, 0.5, 0.5]
    for logs, w, task in zip(losses.seen, of_method, of_task, strict=True):
        expected = task * logs["task_loss"] + w * logs["kd/distill"]
        np.testing.assert_allclose(logs["loss"], expected, rtol=1e-5)


@pytest.mark.backend("tensorflow", "jax")
def test_a_schedule_goes_on_within_one_execution(data):
    histories = []
    for steps in (1, 4):
        distiller = make_distiller(steps_per_execution=steps)
        distiller.methods[0].weight = ramp(4, 50.0)
        histories.append(train(distiller, random_batch_twice(data)).history)
    for name, values in histories[0].items():
        np.testing.assert_allclose(histories[1][name], values, rtol=1e-4)


def random_batch_twice(data):
    return [np.concatenate([part, part]) for part in data]


def test_a_schedule_cannot_take_the_place_of_a_number_while_training_runs(data):
    class Schedule(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.methods[0].weight = ramp(4)

    with pytest.raises(ValueError, match="can only change from one number"):
        train(make_distiller(), data, callbacks=[Schedule()])


def test_labels_that_were_left_out_can_count_in_the_next_fit(data):
    x, y = data

    class Labels(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.model.task_loss_weight = float(epoch)

    distiller = make_distiller()
    distiller.task_loss_weight = 0.0
    train(distiller, [x])
    distiller.task_loss_weight = 1.0
    with pytest.raises(ValueError, match="needs labels"):
        train(distiller, [x])
    logs = train(distiller, data).history
    assert logs["task_loss"][0] > 0
    distiller = make_distiller()
    distiller.task_loss_weight = 0.0
    with pytest.raises(ValueError, match="first weight of a loss of labels"):
        train(distiller, [x], epochs=2, callbacks=[Labels()])


def test_schedules_are_saved_with_the_distiller(data, tmp_path):
    distiller = Distiller(
        small_cnn(12),
        small_cnn(6),
        [
            LogitsKD(weight=ramp(4, 2.0)),
            DiffKD("features", "features", denoise_weight=ramp(8)),
            DSKD("features", "features", mse_weight=ramp(8)),
        ],
        task_loss_weight=COSINE(1.0, 10),
    )
    distiller.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.task_loss_weight.get_config()["decay_steps"] == 10
    kd, diffkd, dskd = loaded.methods
    assert kd.weight.get_config() == distiller.methods[0].weight.get_config()
    assert diffkd.loss_weights["denoise"](4) == 0.5
    assert dskd.loss_weights["mse"](2) == 0.25


def test_a_schedule_that_begins_at_0_is_not_label_free(data):
    distiller = make_distiller()
    distiller.task_loss_weight = ramp(4)
    with pytest.raises(ValueError, match="needs labels"):
        train(distiller, [data[0]])
    distiller.compile("sgd", cross_entropy())
    with pytest.raises(ValueError, match="no targets"):
        train(distiller, [data[0]])


@pytest.mark.parametrize("weight", [COSINE(-1.0, 4), "linear", None, True])
def test_a_wrong_weight_of_a_method_is_named(weight):
    with pytest.raises(ValueError, match="weight.*must be.*Received: .*weight"):
        LogitsKD(weight=weight)


def test_losses_outside_of_fit_are_those_of_the_optimizers_step(data):
    distiller = make_distiller()
    distiller.methods[0].weight = ramp(4, 2.0)
    train(distiller, data)
    losses, _ = distiller.compute_training_losses(*data)
    expected = losses["task_loss"] + 1.0 * losses["kd/distill"]
    np.testing.assert_allclose(losses["loss"], expected, rtol=1e-5)


def test_dkds_warm_up_is_a_schedule(data):
    distiller = make_distiller(methods=[DKD(weight=ramp(40))])
    losses = Losses()
    train(distiller, data, epochs=22, callbacks=[losses])
    for step, logs in enumerate(losses.seen):
        expected = logs["task_loss"] + min(step / 40, 1) * logs["dkd/distill"]
        np.testing.assert_allclose(logs["loss"], expected, rtol=1e-5)


OPTIMIZERS = {
    "accumulation": lambda: keras.optimizers.SGD(0.1, gradient_accumulation_steps=2),
    "loss scale": lambda: keras.optimizers.LossScaleOptimizer(
        keras.optimizers.SGD(0.1)
    ),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_schedule_counts_as_one_of_the_learning_rate(data, optimizer):
    distiller = make_distiller(methods=[LogitsKD(weight=ramp(4, 2.0))])
    distiller.compile(OPTIMIZERS[optimizer](), cross_entropy(), preflight=False)
    losses = Losses()
    train(distiller, data, epochs=2, callbacks=[losses])
    for logs, weight in zip(losses.seen, [0.0, 0.5, 1.0, 1.5], strict=True):
        expected = logs["task_loss"] + weight * logs["kd/distill"]
        np.testing.assert_allclose(logs["loss"], expected, rtol=1e-5)
