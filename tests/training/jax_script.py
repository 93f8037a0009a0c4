"""Trains the same distiller on one and on two devices of JAX; prints JSON.

A process of its own, with XLA_FLAGS=--xla_force_host_platform_device_count=2, that
cannot import TensorFlow. The argument is a path for the student's file.
"""

import json
import sys

sys.modules["tensorflow"] = None

import jax  # noqa: E402
import keras  # noqa: E402
import numpy as np  # noqa: E402
from helpers.small_models import (  # noqa: E402
    FixedDraws,
    cross_entropy,
    random_batch,
    small_cnn,
)

import keras_diffkd  # noqa: E402
from keras_diffkd import DistillationMethod, Distiller, LogitsKD  # noqa: E402


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
            num_inference_steps=1,
            name="maps",
        ),
        LogitsKD(),
    ]
    distiller = make_distiller(None, methods)
    x, y = random_batch(np.random.default_rng(1), 32)
    logs = fit(
        distiller,
        epochs=2,
        sample_weight=np.linspace(0.5, 2.0, 64),
        validation_data=(x, y),
    )
    statistics = [v for v in distiller.non_trainable_variables if "moving" in v.path]
    sharding = distiller.trainable_variables[0].value.sharding
    return distiller, {
        "logs": logs,
        "weights": [np.array(v).tolist() for v in distiller.trainable_variables],
        "statistics": [np.array(v).tolist() for v in statistics],
        "devices": len(sharding.device_set),
    }


def message(function):
    try:
        function()
    except (ValueError, ImportError) as error:
        return str(error)
    return "no error"


def stripped(distiller, path):
    """Saves the student; tells what it predicts."""
    x, _ = random_batch(np.random.default_rng(0), 64)
    student = distiller.strip()
    predictions = np.array(student(x, training=False))
    student.save(path)
    return {
        "predictions": predictions.tolist(),
        "same_predictions": np.array_equal(predictions, distiller(x, training=False)),
    }


assert jax.device_count() == 2
assert keras.backend.backend() == "jax"
distiller, one = results()
output = {"one": one, "stripped": stripped(distiller, sys.argv[1])}
teacher = small_cnn(12)
keras.distribution.set_distribution(keras.distribution.DataParallel())
_, output["two"] = results()
noise = fit(make_distiller(None, [NoiseDistance()]))
output["smallest_distance_of_noises"] = noise["noise/smallest"][0]
output["uneven batch"] = message(
    lambda: fit(make_distiller(None, [LogitsKD()]), samples=33)
)
output["teacher elsewhere"] = message(
    lambda: fit(make_distiller(teacher, [LogitsKD()]))
)
output["datasets"] = message(lambda: keras_diffkd.datasets)
json.dump(output, sys.stdout)
