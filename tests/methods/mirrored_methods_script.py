"""Trains with every method on two logical devices; prints the results as JSON."""

import json
import sys

import keras
import numpy as np
from helpers.devices import mirrored_on_two_devices
from helpers.every_method import METHODS, two_stages
from helpers.garbage import collect_less
from helpers.graphs import optimize_no_graphs
from helpers.small_models import cross_entropy, random_batch

from keras_diffkd import Distiller

collect_less()
STRATEGY = mirrored_on_two_devices()
optimize_no_graphs()


def train():
    """Trains all methods in one distiller: each is traced once for every replica."""
    keras.utils.set_random_seed(0)
    # 17 samples in batches of 8: the last batch leaves one replica without any.
    x, y = random_batch(np.random.default_rng(0), 17)
    with STRATEGY.scope():
        methods = [make() for make in METHODS.values()]
        distiller = Distiller(two_stages(12), two_stages(8), methods)
        distiller.compile(keras.optimizers.SGD(0.01), cross_entropy(), preflight=False)
    logs = distiller.fit(x, y, batch_size=8, epochs=2, verbose=0).history
    copies = {
        v.path: [
            np.array(copy).tolist()
            for copy in STRATEGY.experimental_local_results(v.value)
        ]
        for v in distiller.non_trainable_variables
        if "seed_generator" not in v.path
    }
    return {"logs": logs, "copies": copies}


json.dump(train(), sys.stdout)
