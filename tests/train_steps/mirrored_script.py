"""Trains the same distiller on one and on two replicas; prints the results as JSON.

A process of its own: logical devices must be set before TensorFlow is used.
"""

import contextlib
import json
import sys

import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(
    cpu, [tf.config.LogicalDeviceConfiguration()] * 2
)

import keras  # noqa: E402
import numpy as np  # noqa: E402
from small_models import cross_entropy, random_batch, small_cnn  # noqa: E402

from keras_diffkd import Distiller, FitNet, LogitsKD  # noqa: E402

# One for all: the collective operations of two strategies get in each other's way.
STRATEGY = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


def train(replicas, jit_compile, frozen):
    keras.utils.set_random_seed(0)
    # 33 samples in batches of 16: the last batch leaves one replica without any.
    x, y = random_batch(np.random.default_rng(0), 33)
    weights = np.linspace(0.5, 2.0, 33)
    with STRATEGY.scope() if replicas > 1 else contextlib.nullcontext():
        student = small_cnn(6)
        if frozen:
            student.get_layer(index=2).trainable = False
        distiller = Distiller(
            small_cnn(12), student, [FitNet("features", "features"), LogitsKD()]
        )
        distiller.compile(
            keras.optimizers.SGD(0.05, momentum=0.9),
            cross_entropy(),
            metrics=["accuracy"],
            jit_compile=jit_compile,
        )
    logs = distiller.fit(
        x, y, sample_weight=weights, batch_size=16, epochs=4, shuffle=False, verbose=0
    ).history
    moving = [v for v in student.variables if "moving" in v.path]
    copies = [STRATEGY.experimental_local_results(v.value) for v in moving]
    return {
        "logs": {name: values[-1] for name, values in logs.items()},
        "weights": [np.array(v).tolist() for v in distiller.trainable_variables],
        "moved": bool(np.abs(np.array(moving[0])).max() > 0),
        "copies": [[np.array(c).tolist() for c in values] for values in copies],
    }


results = {
    "one": train(1, False, frozen=True),
    "two": train(2, False, frozen=True),
    "two_xla": train(2, True, frozen=True),
    "two_moving": train(2, False, frozen=False),
}
json.dump(results, sys.stdout)
