"""Layers that draw and assign, noise, precision and mistakes on two replicas."""

import keras
import numpy as np
import pytest
from helpers.devices import mirrored_on_two_devices, scope_of
from helpers.small_models import Noise, cross_entropy, random_batch, small_cnn

from keras_diffkd import (
    Distiller,
    LogitsKD,
    QuantizationAware,
    TrainingDivergedError,
)


class GlobalNoise(keras.layers.Layer):
    """Keeps what Keras's global generator gives in each step."""

    def build(self, shape):
        self.drawn = self.add_weight(shape=(4,), trainable=False, initializer="zeros")

    def call(self, x, training=False):
        if training:
            draw = keras.random.uniform((1,))
            self.drawn.assign(keras.ops.concatenate([self.drawn[1:], draw]))
        return x


class Assigning(keras.layers.Layer):
    """Scales a kernel that is trained, and counts its calls."""

    def build(self, shape):
        self.kernel = self.add_weight(shape=(1, 1, 1, 1), initializer="ones")
        self.calls = self.add_weight(shape=(), trainable=False, initializer="zeros")

    def call(self, x, training=False):
        if training:
            self.kernel.assign(self.kernel * 2)
            self.calls.assign_add(1)
        return x * self.kernel


def assigned(replicas, jit_compile):
    """Returns the draws, the kernel and the count of calls that the layers kept."""
    keras.utils.set_random_seed(0)
    x, y = random_batch(np.random.default_rng(0), 32)
    with scope_of(replicas):
        noise, layer = GlobalNoise(), Assigning()
        student = keras.Sequential(
            [keras.Input(x.shape[1:]), noise, layer, small_cnn(6)]
        )
        distiller = Distiller(None, student, [])
        distiller.compile(
            keras.optimizers.SGD(0.05), cross_entropy(), jit_compile=jit_compile
        )
    distiller.fit(x, y, batch_size=8, shuffle=False, verbose=0)
    kept = (noise.drawn, layer.kernel, layer.calls)
    return [np.array(v).tolist() for v in kept]


def check_what_is_assigned_ends_as_on_one_replica(found):
    (_, kernel, calls), *of_two = found["assigned"]
    for draws, kernel_of_two, calls_of_two in of_two:
        np.testing.assert_allclose(kernel_of_two, kernel, rtol=1e-4)
        assert calls == calls_of_two == 4
        assert len(set(draws)) == 4  # The mean of both replicas, new in every step.


def check_replicas_draw_different_noise(found):
    first, second = found["not_finite"]["drawn"]
    assert first > 0
    assert second > 0
    assert abs(first - second) > 1e-3


def overflow_on_one_replica():
    """Trains in float16 with a gradient that overflows on one of the replicas."""
    keras.config.set_dtype_policy("mixed_float16")
    keras.utils.set_random_seed(0)
    x, y = random_batch(np.random.default_rng(0), 16)
    weights = np.ones(16)
    weights[15] = 1e5
    with scope_of(2):
        distiller = Distiller(small_cnn(12), small_cnn(6), [LogitsKD()])
        optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.05))
        distiller.compile(optimizer, cross_entropy())
    before = [np.array(v) for v in distiller.student.variables]
    scale = optimizer.initial_scale
    logs = distiller.fit(
        x, y, sample_weight=weights, batch_size=16, shuffle=False, verbose=0
    ).history
    after = [np.array(v) for v in distiller.student.variables]
    keras.config.set_dtype_policy("float32")
    return {
        "unchanged": all(
            np.array_equal(a, b) for a, b in zip(before, after, strict=True)
        ),
        "scale": float(np.array(optimizer.dynamic_scale)) / scale,
        "loss": logs["loss"],
        "skipped_steps": logs["skipped_steps"],
    }


def check_an_overflow_on_one_replica_skips_the_step_on_all(found):
    assert found["overflow"]["unchanged"]
    assert found["overflow"]["scale"] == 0.5
    assert found["overflow"]["skipped_steps"] == [1.0]
    assert np.isfinite(found["overflow"]["loss"])


def not_finite_on_one_replica():
    """Trains with NaN in the share of the second replica, then without.

    The results include the draws of the last step.
    """
    keras.utils.set_random_seed(0)
    x, y = random_batch(np.random.default_rng(0), 16)
    bad = np.where(np.arange(16)[:, None, None, None] == 13, np.nan, x)
    with scope_of(2):
        methods = [LogitsKD(), Noise(name="noise")]
        distiller = Distiller(small_cnn(12), small_cnn(6), methods)
        # Without the look at the data that would find the NaN before any step.
        distiller.compile(
            keras.optimizers.SGD(0.05, momentum=0.9),
            cross_entropy(),
            jit_compile=False,
            preflight=False,
        )
    distiller.fit(x, y, batch_size=16, verbose=0)

    def copies(variables):
        local = mirrored_on_two_devices().experimental_local_results
        return [np.array(copy) for v in variables for copy in local(v.value)]

    variables = [*distiller.student.variables, *distiller.optimizer.variables]
    before = copies(variables)
    try:
        distiller.fit(bad, y, batch_size=16, shuffle=False, verbose=0)
    except TrainingDivergedError as error:
        said, size = str(error), len(error.arrays()["x"])
    after = copies(variables)
    unchanged = all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    loss = distiller.fit(x, y, batch_size=16, verbose=0).history["loss"][0]
    drawn = copies([distiller.record.loss_means.trackers["noise/drawn"].total])
    return {
        "said": said,
        "size": size,
        "unchanged": unchanged,
        "loss": loss,
        "drawn": [float(value) for value in drawn],
    }


def check_a_step_that_is_not_finite_on_one_replica_is_applied_on_none(found):
    result = found["not_finite"]
    assert result["unchanged"]
    assert "step 1 of epoch 1, on replica 1" in result["said"]
    assert "First value not finite: the inputs (sample 5 of 8)" in result["said"]
    assert result["size"] == 8
    assert np.isfinite(result["loss"])


def quantized(replicas, ranges):
    """Trains in int8; both replicas see the same samples, as one replica does once."""
    keras.utils.set_random_seed(0)
    x, y = random_batch(np.random.default_rng(0), 16)
    if replicas > 1:
        x, y = (np.repeat(v.reshape(2, 8, *v.shape[1:]), 2, 0) for v in (x, y))
        x, y = (v.reshape(32, *v.shape[2:]) for v in (x, y))
    with scope_of(replicas):
        distiller = Distiller(
            None, small_cnn(6), quantization=QuantizationAware(ranges, momentum=0.5)
        )
        distiller.compile(
            keras.optimizers.SGD(0.05), cross_entropy(), jit_compile=False
        )
    distiller.fit(x, y, batch_size=8 * replicas, epochs=3, shuffle=False, verbose=0)
    return {
        "ranges": [*distiller.quantization_ranges().minimums_maximums.values()],
        "weights": [np.array(v).tolist() for v in distiller.student.variables],
    }


def check_two_replicas_train_in_int8_as_one(found):
    for of_one, of_two in found["quantized"]:
        np.testing.assert_allclose(of_two["ranges"], of_one["ranges"], rtol=1e-3)
        for a, b in zip(of_one["weights"], of_two["weights"], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


def errors():
    """Returns the messages about models on other devices, by case."""
    x, y = random_batch(np.random.default_rng(0), 16)
    said = {}

    def outside():
        distiller = Distiller(small_cnn(12), small_cnn(6), [LogitsKD()])
        distiller.compile("sgd", cross_entropy())
        with scope_of(2):
            distiller.fit(x, y, verbose=0)

    def student_outside():
        student = small_cnn(6)
        with scope_of(2):
            distiller = Distiller(small_cnn(12), student, [LogitsKD()])
            distiller.compile("sgd", cross_entropy())
        distiller.fit(x, y, verbose=0)

    def synchronized():
        with scope_of(2):
            student = small_cnn(6)
            student.get_layer(index=2).synchronized = True
            distiller = Distiller(small_cnn(12), student, [LogitsKD()])
            distiller.compile("sgd", cross_entropy(), jit_compile=True)

    for case in (outside, student_outside, synchronized):
        try:
            case()
        except ValueError as error:
            said[case.__name__] = str(error)
    return said


def check_what_does_not_fit_is_named(found):
    for case, said in (
        ("outside", "created outside the strategy's scope.*inside `with strategy"),
        ("student_outside", "The student .* created outside.*inside `with strategy"),
        ("synchronized", "jit_compile=True cannot.*synchronized=True.*auto"),
    ):
        with pytest.raises(ValueError, match=said):
            raise ValueError(found["errors"][case])


def results():
    """Runs all parts on one and on two replicas."""
    return {
        "assigned": [assigned(1, False), assigned(2, False), assigned(2, True)],
        "overflow": overflow_on_one_replica(),
        "not_finite": not_finite_on_one_replica(),
        "quantized": [
            [quantized(replicas, ranges) for replicas in (1, 2)]
            for ranges in ("moving", "learned")
        ],
        "errors": errors(),
    }


def check(found):
    """Checks assignments of layers, noise, skipped steps, int8 and errors."""
    check_what_is_assigned_ends_as_on_one_replica(found)
    check_replicas_draw_different_noise(found)
    check_an_overflow_on_one_replica_skips_the_step_on_all(found)
    check_a_step_that_is_not_finite_on_one_replica_is_applied_on_none(found)
    check_two_replicas_train_in_int8_as_one(found)
    check_what_does_not_fit_is_named(found)
