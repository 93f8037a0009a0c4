"""Every method on two replicas, in one distiller."""

import keras
import numpy as np
from helpers.devices import mirrored_on_two_devices
from helpers.every_method import METHODS, two_stages
from helpers.small_models import cross_entropy, random_batch

from keras_diffkd import Distiller


def results():
    """Trains all methods in one distiller: each is traced once for every replica."""
    keras.utils.set_random_seed(0)
    strategy = mirrored_on_two_devices()
    # 17 samples in batches of 8: the last batch leaves one replica without any.
    x, y = random_batch(np.random.default_rng(0), 17)
    with strategy.scope():
        methods = [make() for make in METHODS.values()]
        distiller = Distiller(two_stages(12), two_stages(8), methods)
        distiller.compile(
            keras.optimizers.SGD(0.01),
            cross_entropy(),
            jit_compile=False,
            preflight=False,
        )
    logs = distiller.fit(x, y, batch_size=8, epochs=2, verbose=0).history
    copies = {
        v.path: [
            np.array(copy).tolist()
            for copy in strategy.experimental_local_results(v.value)
        ]
        for v in distiller.non_trainable_variables
        if "seed_generator" not in v.path
    }
    losses = [f"{m.name}/{loss}" for m in methods for loss in m.loss_weights]
    return {"losses": losses, "logs": logs, "copies": copies}


def check(found):
    """All losses are finite, and the copies of every variable are the same."""
    for name in found["losses"]:
        assert np.all(np.isfinite(found["logs"][name])), name
    assert len(found["losses"]) >= len(METHODS)
    assert len(found["copies"]) > len(METHODS)
    for path, (first, second) in found["copies"].items():
        np.testing.assert_array_equal(first, second, err_msg=path)
        assert np.all(np.isfinite(first)), path
