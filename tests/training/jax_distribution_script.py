"""Trains the same distiller on one and on two devices; prints the results as JSON.

A process of its own, with XLA_FLAGS=--xla_force_host_platform_device_count=2.
"""

import json
import sys

import jax
import keras
import numpy as np
from helpers.small_models import FixedDraws, cross_entropy, random_batch, small_cnn

from keras_diffkd import DistillationMethod, Distiller, LogitsKD


class NoiseDistance(DistillationMethod):
    """Logs the smallest distance between the noises of two samples."""

    loss_weights = {}
    metric_names = ("smallest",)

    def __init__(self):
        super().__init__(name="noise")
        self.seed_generator = keras.random.SeedGenerator(0)

    def compute_losses(self, teacher, student, targets=None, training=True):
        size = teacher.shape[0]
        noise = keras.random.normal((size, 8), seed=self.seed_generator)
        distances = keras.ops.norm(noise[:, None] - noise[None], axis=-1)
        apart = distances + 1e3 * keras.ops.eye(size)
        return {"smallest": keras.ops.min(apart)}


def make_distiller(teacher, methods):
    # With seed 0, a value is so close to the corner of a ReLU that rounding decides.
    keras.utils.set_random_seed(1)
    distiller = Distiller(teacher or small_cnn(12), small_cnn(6), methods)
    optimizer = keras.optimizers.SGD(0.05, momentum=0.9)
    distiller.compile(optimizer, cross_entropy(), metrics=["accuracy"])
    return distiller


def fit(distiller, samples=64, **arguments):
    x, y = random_batch(np.random.default_rng(0), samples)
    return distiller.fit(
        x, y, batch_size=32, shuffle=False, verbose=0, **arguments
    ).history


def results():
    methods = [
        FixedDraws(
            "features",
            "features",
            latent_channels=8,
            num_inference_steps=2,
            name="maps",
        ),
        LogitsKD(),
    ]
    distiller = make_distiller(None, methods)
    x, y = random_batch(np.random.default_rng(1), 32)
    logs = fit(
        distiller,
        epochs=3,
        sample_weight=np.linspace(0.5, 2.0, 64),
        validation_data=(x, y),
    )
    statistics = [v for v in distiller.non_trainable_variables if "moving" in v.path]
    sharding = distiller.trainable_variables[0].value.sharding
    return {
        "logs": logs,
        "weights": [np.array(v).tolist() for v in distiller.trainable_variables],
        "statistics": [np.array(v).tolist() for v in statistics],
        "devices": len(sharding.device_set),
    }


def message(function):
    try:
        function()
    except ValueError as error:
        return str(error)
    return "no error"


assert jax.device_count() == 2
output = {"one": results()}
teacher = small_cnn(12)
keras.distribution.set_distribution(keras.distribution.DataParallel())
output["two"] = results()
noise = fit(make_distiller(None, [NoiseDistance()]))
output["smallest_distance_of_noises"] = noise["noise/smallest"][0]
output["uneven batch"] = message(
    lambda: fit(make_distiller(None, [LogitsKD()]), samples=33)
)
output["teacher elsewhere"] = message(
    lambda: fit(make_distiller(teacher, [LogitsKD()]))
)
json.dump(output, sys.stdout)
