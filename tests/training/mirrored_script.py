"""Trains the same distiller on one and on two replicas; prints the results as JSON.

A process of its own: logical devices must be set before TensorFlow is used.
"""

import contextlib
import json
import sys

import keras
import numpy as np
import tensorflow as tf
from helpers.devices import mirrored_on_two_devices
from helpers.garbage import collect_less
from helpers.small_models import cross_entropy, random_batch, small_cnn

from keras_diffkd import (
    DiffKD,
    Distiller,
    FitNet,
    LogitsKD,
    QuantizationAware,
    TrainingDivergedError,
)

collect_less()
STRATEGY = mirrored_on_two_devices()


class FixedDraws(DiffKD):
    """A DiffKD whose draws depend on the sample, not on the replica that has it."""

    def compute_losses(self, teacher_features, *args, **kwargs):
        seed = keras.ops.cast(teacher_features, "float32")[..., : self.latent_channels]
        timesteps = keras.ops.abs(keras.ops.sin(keras.ops.sum(seed, axis=(1, 2, 3))))
        return super().compute_losses(
            teacher_features,
            *args,
            init_noise=keras.ops.sin(37.0 * seed),
            denoise_noise=keras.ops.cos(53.0 * seed),
            timesteps=keras.ops.cast(999.0 * timesteps, "int32"),
            **kwargs,
        )


def make_methods():
    diffkd = FixedDraws(
        "features",
        "features",
        latent_channels=8,
        num_inference_steps=1,
        name="diffkd",
    )
    return [FitNet("features", "features", weight="balanced"), LogitsKD(), diffkd]


def make_student(statistics):
    student = small_cnn(6)
    norm = student.get_layer(index=2)
    norm.trainable = statistics != "frozen"
    norm.synchronized = statistics == "synchronized"
    return student


def train(replicas, jit_compile, statistics, samples=33):
    keras.utils.set_random_seed(0)
    # 33 samples in batches of 16: the last batch leaves one replica without any.
    x, y = random_batch(np.random.default_rng(0), samples)
    weights = np.linspace(0.5, 2.0, samples)
    with STRATEGY.scope() if replicas > 1 else contextlib.nullcontext():
        student = make_student(statistics)
        methods = make_methods()
        distiller = Distiller(small_cnn(12), student, methods)
        for layer in methods[-1]._flatten_layers():
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.trainable = False
        distiller.compile(
            keras.optimizers.SGD(0.05, momentum=0.9),
            cross_entropy(),
            metrics=["accuracy"],
            jit_compile=jit_compile,
            preflight=jit_compile is False,
        )
    logs = distiller.fit(
        x,
        y,
        sample_weight=weights,
        batch_size=16,
        epochs=3,
        validation_data=(x, y),
        shuffle=False,
        verbose=0,
    ).history
    return {
        "logs": {name: values[-1] for name, values in logs.items()},
        "weights": [np.array(v).tolist() for v in distiller.trainable_variables],
        "outputs": distiller.predict(x, batch_size=16, verbose=0).tolist(),
    }


class GlobalNoise(keras.layers.Layer):
    """Keeps what Keras's global generator gives in each step."""

    def build(self, shape):
        self.drawn = self.add_weight(shape=(4,), trainable=False, initializer="zeros")

    def call(self, x, training=False):
        if training:
            draw = keras.random.uniform((1,))
            self.drawn.assign(keras.ops.concatenate([self.drawn[1:], draw]))
        return x


def draws_of_the_global_generator(jit_compile):
    """Returns the mean of what both replicas drew, step by step."""
    keras.utils.set_random_seed(0)
    x, y = random_batch(np.random.default_rng(0), 32)
    with STRATEGY.scope():
        layer = GlobalNoise()
        student = keras.Sequential([keras.Input(x.shape[1:]), layer, small_cnn(6)])
        distiller = Distiller(None, student, [])
        distiller.compile("sgd", cross_entropy(), jit_compile=jit_compile)
    distiller.fit(x, y, batch_size=8, verbose=0)
    return np.array(layer.drawn).tolist()


def noise_of_replicas():
    """Trains on the same sample twice; returns what the two replicas measured."""
    keras.utils.set_random_seed(0)
    x, y = (np.repeat(v, 2, axis=0) for v in random_batch(np.random.default_rng(0), 1))
    with STRATEGY.scope():
        distiller = Distiller(
            small_cnn(12),
            small_cnn(6),
            [DiffKD("features", "features", num_inference_steps=1, seed=1)],
        )
        distiller.compile("sgd", cross_entropy())
        distiller.optimizer.build(distiller.trainable_variables)

    def draw(x, y):
        distiller.train_step((x, y))
        return distiller.record.loss_means.trackers["diffkd/denoise"].total.value + 0.0

    data = STRATEGY.experimental_distribute_dataset(
        tf.data.Dataset.from_tensor_slices((x, y)).batch(2)
    )
    step = tf.function(lambda batch: STRATEGY.run(draw, args=batch), autograph=False)
    drawn = step(next(iter(data)))
    return [float(v) for v in STRATEGY.experimental_local_results(drawn)]


def overflow_on_one_replica():
    """Trains in float16 with a gradient that overflows on one of the replicas."""
    keras.config.set_dtype_policy("mixed_float16")
    keras.utils.set_random_seed(0)
    x, y = random_batch(np.random.default_rng(0), 16)
    weights = np.ones(16)
    weights[15] = 1e5
    with STRATEGY.scope():
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


def not_finite_on_one_replica():
    """Trains with NaN in the share of the second replica, then without."""
    keras.utils.set_random_seed(0)
    x, y = random_batch(np.random.default_rng(0), 16)
    bad = np.where(np.arange(16)[:, None, None, None] == 13, np.nan, x)
    with STRATEGY.scope():
        distiller = Distiller(small_cnn(12), small_cnn(6), [LogitsKD()])
        # Without the look at the data that would find the NaN before any step.
        distiller.compile(
            keras.optimizers.SGD(0.05, momentum=0.9), cross_entropy(), preflight=False
        )
    distiller.fit(x, y, batch_size=16, verbose=0)

    def copies():
        variables = [*distiller.student.variables, *distiller.optimizer.variables]
        return [
            np.array(copy)
            for variable in variables
            for copy in STRATEGY.experimental_local_results(variable.value)
        ]

    before = copies()
    try:
        distiller.fit(bad, y, batch_size=16, shuffle=False, verbose=0)
    except TrainingDivergedError as error:
        said, size = str(error), len(error.arrays()["x"])
    unchanged = all(np.array_equal(a, b) for a, b in zip(before, copies(), strict=True))
    loss = distiller.fit(x, y, batch_size=16, verbose=0).history["loss"][0]
    return {"said": said, "size": size, "unchanged": unchanged, "loss": loss}


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


def assigned(replicas):
    """Returns the kernel, and how often the layer was called."""
    keras.utils.set_random_seed(0)
    x, y = random_batch(np.random.default_rng(0), 32)
    with STRATEGY.scope() if replicas > 1 else contextlib.nullcontext():
        layer = Assigning()
        student = keras.Sequential([keras.Input(x.shape[1:]), layer, small_cnn(6)])
        distiller = Distiller(None, student, [])
        distiller.compile(keras.optimizers.SGD(0.05), cross_entropy())
    distiller.fit(x, y, batch_size=16, shuffle=False, verbose=0)
    return [np.array(v).tolist() for v in (layer.kernel, layer.calls)]


def quantized(replicas, ranges):
    """Trains in int8; both replicas see the same samples, as one replica does once."""
    keras.utils.set_random_seed(0)
    x, y = random_batch(np.random.default_rng(0), 16)
    if replicas > 1:
        x, y = (np.repeat(v.reshape(2, 8, *v.shape[1:]), 2, 0) for v in (x, y))
        x, y = (v.reshape(32, *v.shape[2:]) for v in (x, y))
    with STRATEGY.scope() if replicas > 1 else contextlib.nullcontext():
        distiller = Distiller(
            None, small_cnn(6), quantization=QuantizationAware(ranges, momentum=0.5)
        )
        distiller.compile(keras.optimizers.SGD(0.05), cross_entropy())
    distiller.fit(x, y, batch_size=8 * replicas, epochs=4, shuffle=False, verbose=0)
    return {
        "ranges": [*distiller.quantization_ranges().minimums_maximums.values()],
        "weights": [np.array(v).tolist() for v in distiller.student.variables],
    }


def errors():
    """What is said about models on other devices, by case."""
    x, y = random_batch(np.random.default_rng(0), 16)
    said = {}

    def outside():
        distiller = Distiller(small_cnn(12), small_cnn(6), [LogitsKD()])
        distiller.compile("sgd", cross_entropy())
        with STRATEGY.scope():
            distiller.fit(x, y, verbose=0)

    def student_outside():
        student = small_cnn(6)
        with STRATEGY.scope():
            distiller = Distiller(small_cnn(12), student, [LogitsKD()])
            distiller.compile("sgd", cross_entropy())
        distiller.fit(x, y, verbose=0)

    def synchronized():
        with STRATEGY.scope():
            student = make_student("synchronized")
            distiller = Distiller(small_cnn(12), student, [LogitsKD()])
            distiller.compile("sgd", cross_entropy(), jit_compile=True)

    for case in (outside, student_outside, synchronized):
        try:
            case()
        except ValueError as error:
            said[case.__name__] = str(error)
    return said


results = {
    "one": train(1, False, "frozen"),
    "two": train(2, False, "frozen"),
    "two_xla": train(2, True, "frozen"),
    "one_synchronized": train(1, False, "synchronized", samples=32),
    "two_synchronized": train(2, "auto", "synchronized", samples=32),
    "noise": noise_of_replicas(),
    "overflow": overflow_on_one_replica(),
    "not_finite": not_finite_on_one_replica(),
    "global_noise": [draws_of_the_global_generator(jit) for jit in (False, True)],
    "assigned": [assigned(1), assigned(2)],
    "quantized": [
        [quantized(replicas, ranges) for replicas in (1, 2)]
        for ranges in ("moving", "learned")
    ],
    "errors": errors(),
}
json.dump(results, sys.stdout)
