"""Trains with every method on two logical devices; prints the results as JSON."""

import json
import sys
from pathlib import Path

import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(
    cpu, [tf.config.LogicalDeviceConfiguration()] * 2
)
sys.path.insert(0, str(Path(__file__).parents[1]))

import keras  # noqa: E402
import numpy as np  # noqa: E402
from helpers.every_method import METHODS, two_stages  # noqa: E402
from helpers.small_models import cross_entropy, random_batch  # noqa: E402

from keras_diffkd import Distiller  # noqa: E402

STRATEGY = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


def train(name):
    keras.utils.set_random_seed(0)
    # 17 samples in batches of 8: the last batch leaves one replica without any.
    x, y = random_batch(np.random.default_rng(0), 17)
    with STRATEGY.scope():
        distiller = Distiller(two_stages(12), two_stages(8), [METHODS[name]()])
        distiller.compile(keras.optimizers.SGD(0.05), cross_entropy())
    logs = distiller.fit(x, y, batch_size=8, epochs=2, verbose=0).history
    copies = [
        [
            np.array(copy).tolist()
            for copy in STRATEGY.experimental_local_results(v.value)
        ]
        for v in distiller.non_trainable_variables
        if "seed_generator" not in v.path
    ]
    return logs, copies


json.dump({name: train(name) for name in METHODS}, sys.stdout)
