"""The step on JAX; what is true on every backend is in test_distiller.py."""

import importlib.util
import os
from pathlib import Path

import keras
import numpy as np
import pytest
from helpers.scripts import run_script
from helpers.small_models import (
    FixedDraws,
    cross_entropy,
    random_batch,
    small_cnn,
    weights_of,
)

from keras_diffkd import Distiller, FitNet, LogitsKD, TrainingDivergedError

on_jax = pytest.mark.backend("jax")


def make_distiller(methods=None, teacher_seed=1, **arguments):
    keras.utils.set_random_seed(teacher_seed)
    teacher = small_cnn(12)
    keras.utils.set_random_seed(0)
    methods = [LogitsKD()] if methods is None else methods
    distiller = Distiller(teacher, small_cnn(6), methods)
    distiller.compile(
        keras.optimizers.SGD(0.05, momentum=0.9), cross_entropy(), **arguments
    )
    return distiller


def step(distiller, rng_seed=0):
    x, y = random_batch(np.random.default_rng(rng_seed))
    return distiller.fit(x, y, batch_size=32, verbose=0).history


def check_data_parallelism_on_two_devices(results):
    one, two = results["one"], results["two"]
    assert (one["devices"], two["devices"]) == (1, 2)
    for what in ("weights", "statistics"):
        for ours, theirs in zip(two[what], one[what], strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)
    assert set(one["logs"]) == set(two["logs"])
    for name, values in one["logs"].items():
        np.testing.assert_allclose(two["logs"][name], values, rtol=1e-4, err_msg=name)
    assert one["logs"]["loss"][-1] < one["logs"]["loss"][0]

    assert results["smallest_distance_of_noises"] > 0.01

    assert "divisible by the number of devices" in results["uneven batch"]
    assert "drop_remainder" in results["uneven batch"]
    assert "set_distribution` before" in results["teacher elsewhere"]


def check_trains_and_strips_where_tensorflow_is_missing(results, path):
    distill = results["one"]["logs"]["maps/distill"]
    assert distill[-1] < distill[0]
    assert results["stripped"]["same_predictions"]
    assert "tensorflow" in results["datasets"]
    # Into the backend of this process, TensorFlow in CI: that is how it is exported.
    student = keras.models.load_model(path)
    x, _ = random_batch(np.random.default_rng(0), 64)
    np.testing.assert_allclose(
        student(x, training=False),
        results["stripped"]["predictions"],
        rtol=1e-4,
        atol=1e-5,
    )


@pytest.mark.long
@pytest.mark.skipif(
    importlib.util.find_spec("jax") is None,
    reason="JAX is not installed: pip install '.[jax]'",
)
def test_two_devices_and_no_tensorflow(tmp_path, subtests):
    """One test: each process imports JAX and compiles the same step."""
    path = tmp_path / "student.keras"
    results = run_script(
        Path(__file__).with_name("jax_script.py"),
        path,
        KERAS_BACKEND="jax",
        XLA_FLAGS=f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=2",
        JAX_PLATFORMS="cpu",
    )
    with subtests.test("two devices"):
        check_data_parallelism_on_two_devices(results)
    with subtests.test("no TensorFlow"):
        check_trains_and_strips_where_tensorflow_is_missing(results, path)


@on_jax
def test_compiled_and_eager_steps_are_the_same():
    results = []
    for jit_compile in (True, False):
        distiller = make_distiller(
            [FixedDraws("features", "features", latent_channels=8)],
            jit_compile=jit_compile,
        )
        results.append((step(distiller), distiller))
    (compiled_logs, compiled), (eager_logs, eager) = results
    assert hasattr(compiled.record.compiled_step, "lower")
    assert not hasattr(eager.record.compiled_step, "lower")
    for name, value in eager_logs.items():
        np.testing.assert_allclose(compiled_logs[name], value, rtol=1e-4, err_msg=name)
    for a, b in zip(compiled.variables, eager.variables, strict=True):
        if "seed" not in a.path:
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5, err_msg=a.path)


@on_jax
@pytest.mark.parametrize(
    ("arguments", "compiled"),
    [
        ({}, True),
        ({"jit_compile": True}, True),
        ({"jit_compile": False}, False),
        ({"run_eagerly": True}, False),
    ],
)
def test_what_jit_compile_means(arguments, compiled):
    assert make_distiller(**arguments).jit_compile is compiled


@on_jax
def test_the_teachers_weights_are_arguments_of_the_compiled_step():
    distiller = make_distiller()
    step(distiller)
    run = distiller.record.compiled_step
    assert run._cache_size() == 1

    other = make_distiller(teacher_seed=2).teacher
    before = weights_of(distiller.teacher)
    for replace in (
        lambda: distiller.teacher.set_weights(other.get_weights()),
        lambda: distiller.attach_teacher(other),
    ):
        expected = LogitsKD().compute_losses(
            other(random_batch(np.random.default_rng(0))[0], training=False),
            distiller.student(random_batch(np.random.default_rng(0))[0], training=True),
        )["distill"]
        replace()
        np.testing.assert_allclose(
            step(distiller)["kd/distill"][0], expected, rtol=1e-4
        )
        distiller.teacher.set_weights(before)
        if distiller.teacher is not other:
            # Other weights of the same teacher: nothing is compiled again.
            assert distiller.record.compiled_step is run
            assert run._cache_size() == 1


@on_jax
def test_the_teacher_survives_the_donation_of_the_state():
    distiller = make_distiller([FitNet("features", "features")])
    before = weights_of(distiller.teacher)
    step(distiller)
    step(distiller)
    for a, b in zip(before, weights_of(distiller.teacher), strict=True):
        np.testing.assert_array_equal(a, b)


@on_jax
def test_arrays_on_the_device_are_checked_for_labels_too():
    import jax

    distiller = make_distiller()
    x, y = random_batch(np.random.default_rng(0))
    y[3] = 10
    with pytest.raises(ValueError, match="^Labels must lie in 0 to 9.*0 to 10"):
        distiller.train_on_batch(jax.numpy.asarray(x), jax.numpy.asarray(y))


class Told(keras.callbacks.Callback):
    """Lists the batches of which Keras tells it."""

    def on_train_begin(self, logs=None):
        self.batches = []

    def on_train_batch_end(self, batch, logs=None):
        self.batches.append(batch)


@pytest.fixture(scope="module")
def after_two_steps():
    distiller = make_distiller()
    x, y = random_batch(np.random.default_rng(0), 32)
    distiller.fit(x[:16], y[:16], batch_size=8, shuffle=False, verbose=0)
    return [*weights_of(distiller), *weights_of(distiller.optimizer)]


@on_jax
@pytest.mark.parametrize(
    ("steps", "callbacks"),
    [(4, []), (3, []), (4, [Told()])],
    ids=["inside", "last", "callback"],
)
def test_a_bad_step_is_not_applied_though_the_next_one_runs(
    steps, callbacks, after_two_steps
):
    x, y = random_batch(np.random.default_rng(0), 32)
    x[17] = np.nan
    runs = []

    def batches():
        for first in range(0, 8 * steps, 8):
            runs.append(distiller.record.unchecked is not None)
            yield x[first : first + 8], y[first : first + 8]

    distiller = make_distiller(preflight=False)
    with pytest.raises(
        TrainingDivergedError, match=r"inputs \(sample 1 of 8"
    ) as caught:
        distiller.fit(batches(), steps_per_epoch=steps, callbacks=callbacks, verbose=0)
    assert (caught.value.epoch, caught.value.step) == (1, 3)
    np.testing.assert_array_equal(caught.value.arrays()["x"], x[16:24])
    found = [*weights_of(distiller), *weights_of(distiller.optimizer)]
    for ours, expected in zip(found, after_two_steps, strict=True):
        np.testing.assert_array_equal(ours, expected)
    # The host fetches the next batch meanwhile, unless a callback has waited anyway.
    assert runs[-1] == (not callbacks)
    assert [callback.batches for callback in callbacks] == [[0, 1]] * len(callbacks)

    # Nothing is left of the error, and nothing was compiled twice.
    distiller.fit(np.nan_to_num(x), y, batch_size=8, verbose=0)
    assert distiller.record.compiled_step._cache_size() == 1
