"""The pure training step on TensorFlow."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.small_models import (
    FixedDraws,
    cross_entropy,
    random_batch,
    small_cnn,
    weights_of,
)

from keras_diffkd import DiffKD, Distiller, LogitsKD
from keras_diffkd.errors import PreflightError
from keras_diffkd.training.backend import gradient
from keras_diffkd.training.state import state_variables
from keras_diffkd.training.step import step
from keras_diffkd.training.values import Batch, StepValues

pytestmark = pytest.mark.backend("tensorflow")


def make_distiller(method_class=DiffKD, **arguments):
    keras.utils.set_random_seed(0)
    method = method_class("features", "features", latent_channels=8, **arguments)
    return Distiller(small_cnn(12), small_cnn(8), [method])


def values(variables):
    return [tf.convert_to_tensor(v.value) for v in variables]


def step_values(distiller, seed=0, loss_scale=1.0):
    return StepValues(
        values(distiller.trainable_variables),
        values(state_variables(distiller)),
        values(distiller.record.teacher_variables),
        distiller.record.loss_weights.next(None),
        seed,
        loss_scale,
    )


def run_step(distiller, x, y, seed=0, loss_scale=1.0):
    return step(distiller, step_values(distiller, seed, loss_scale), Batch(x, y))


def test_xla_and_graph_give_the_same_losses_weights_and_statistics(rng):
    x, y = random_batch(rng)
    results = {}
    for jit_compile in (False, True):
        distiller = make_distiller(FixedDraws)
        distiller.compile(
            keras.optimizers.SGD(0.05, momentum=0.9),
            cross_entropy(),
            jit_compile=jit_compile,
        )
        logs = distiller.fit(x, y, batch_size=32, verbose=0).history
        results[jit_compile] = (
            logs,
            [np.array(v) for v in distiller.variables if "seed" not in v.path],
        )
    graph_logs, graph_weights = results[False]
    xla_logs, xla_weights = results[True]
    assert {"diffkd/distill", "diffkd/denoise", "diffkd/reconstruct"} < set(graph_logs)
    for name, value in graph_logs.items():
        np.testing.assert_allclose(xla_logs[name], value, rtol=1e-4, err_msg=name)
    for value, xla_value in zip(graph_weights, xla_weights, strict=True):
        np.testing.assert_allclose(xla_value, value, rtol=1e-4, atol=1e-5)


def test_step_changes_no_variable_and_returns_the_new_state(rng):
    distiller = make_distiller()
    distiller.compile("sgd", cross_entropy())
    x, y = random_batch(rng)
    before = weights_of(distiller), weights_of(distiller.teacher)
    _, (losses, (y_pred, _), state, *_) = run_step(distiller, x, y)
    for old, new in zip(
        before, (weights_of(distiller), weights_of(distiller.teacher)), strict=True
    ):
        for a, b in zip(old, new, strict=True):
            np.testing.assert_array_equal(a, b)
    assert y_pred.shape == (32, 10)
    changed = [
        variable.path
        for variable, value in zip(state_variables(distiller), state, strict=True)
        if np.any(np.array(variable) != np.array(value))
    ]
    assert any("moving_mean" in path for path in changed)
    assert any("seed_generator_state" in path for path in changed)
    expected = losses["task_loss"] + sum(
        losses[f"diffkd/{name}"] for name in ("distill", "denoise", "reconstruct")
    )
    np.testing.assert_allclose(losses["loss"], expected, rtol=1e-6)


def test_loss_scale_multiplies_what_is_differentiated_alone(rng):
    distiller = make_distiller(FixedDraws)
    distiller.compile("sgd", cross_entropy())
    x, y = random_batch(rng)
    scaled, (losses, *_) = run_step(distiller, x, y, loss_scale=8.0)
    np.testing.assert_allclose(scaled, 8.0 * losses["loss"], rtol=1e-6)


def test_seed_changes_the_draws_but_not_the_sequence_of_states(rng):
    distiller = make_distiller(seed=5)
    distiller.compile("sgd", cross_entropy())
    x, y = random_batch(rng)
    losses, states = [], []
    for seed in (0, 0, 1):
        _, (loss, _, state, *_) = run_step(distiller, x, y, seed)
        losses.append(float(loss["diffkd/denoise"]))
        states.append(
            [
                np.array(value)
                for variable, value in zip(
                    state_variables(distiller), state, strict=True
                )
                if "seed_generator_state" in variable.path
            ]
        )
    assert losses[0] == losses[1]
    assert losses[0] != losses[2]
    np.testing.assert_array_equal(states[0], states[2])


def test_gradients_reach_the_student_and_the_heads_but_not_the_teacher(rng):
    distiller = make_distiller()
    distiller.compile("sgd", cross_entropy())
    x, y = random_batch(rng)
    gradients, *_ = distiller.record.gradients(
        tf.ones(()), step_values(distiller, tf.constant(0)), Batch(x, y)
    )
    assert len(gradients) == len(distiller.trainable_variables)
    for variable, value in zip(distiller.trainable_variables, gradients, strict=True):
        assert value is not None, variable.path
    teacher = {id(v) for v in distiller.teacher.variables}
    assert not teacher & {id(v) for v in distiller.variables}


@pytest.mark.parametrize("jit_compile", ["True", "yes", 1.5, None])
def test_jit_compile_takes_three_values(jit_compile):
    with pytest.raises(ValueError, match=f'True, False or "auto".*{jit_compile!r}'):
        make_distiller().compile("sgd", cross_entropy(), jit_compile=jit_compile)


def test_gradient_inside_a_step_is_a_constant_of_it():
    weight = keras.Variable([2.0, 3.0])

    def step(values, x):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(values)
            with keras.StatelessScope(state_mapping=[(weight, values)]):
                slope = gradient(
                    lambda x: keras.ops.sum(weight * x**2), keras.ops.exp(x * values)
                )
            loss = keras.ops.sum(slope * values)
        return slope, tape.gradient(loss, values)

    values, x = tf.constant([5.0, 7.0]), tf.constant([0.1, -0.2])
    expected = 2 * np.array([5.0, 7.0]) * np.exp([0.5, -1.4])
    for run in (step, tf.function(step, jit_compile=True)):
        slope, outer = run(values, x)
        np.testing.assert_allclose(slope, expected, rtol=1e-5)
        np.testing.assert_allclose(outer, expected, rtol=1e-5)


@pytest.mark.parametrize("train", ["fit", "train_on_batch"])
def test_a_step_is_traced_once(train, rng):
    """Also where nothing has made the optimizer's variables before."""
    x, y = random_batch(rng, 16)
    traced = []

    class Counted(Distiller):
        def train_step(self, data):
            traced.append(None)
            return super().train_step(data)

    distiller = Counted(None, small_cnn(4), [])
    distiller.compile(keras.optimizers.SGD(0.05, momentum=0.9), cross_entropy())
    assert not distiller.optimizer.built
    getattr(distiller, train)(x, y)
    getattr(distiller, train)(x, y)
    assert len(traced) == 1


class Scaled(tf.Module):
    def __init__(self):
        super().__init__()
        self.scale = tf.Variable(2.0)

    @tf.function(input_signature=[tf.TensorSpec((None, 8, 8, 1))])
    def serve(self, x):
        return x * self.scale


def test_a_saved_model_cannot_be_trained_inside_a_student(tmp_path):
    """Its code reads its own variables, not the values that the step computes with."""
    tf.saved_model.save(Scaled(), str(tmp_path))
    layer = keras.layers.TFSMLayer(str(tmp_path), call_endpoint="serve", name="saved")
    image = keras.Input((8, 8, 1))
    student = keras.Model(image, small_cnn(6)(layer(image)))
    with pytest.raises(PreflightError, match="TFSMLayer 'saved' with 1 trainable"):
        Distiller(small_cnn(12), student, [LogitsKD()])
    layer.trainable = False
    Distiller(small_cnn(12), student, [LogitsKD()])
