"""One worker of a MultiWorkerMirroredStrategy; prints its results as JSON.

TF_CONFIG names the workers; without it, the process trains alone on the same batches.
"""

import contextlib
import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import tensorflow as tf  # noqa: E402

STRATEGY = None
if "TF_CONFIG" in os.environ:
    STRATEGY = tf.distribute.MultiWorkerMirroredStrategy()

import keras  # noqa: E402
import numpy as np  # noqa: E402
from helpers.small_models import (  # noqa: E402
    Noise,
    cross_entropy,
    random_batch,
    small_cnn,
)

from keras_diffkd import Distiller, FitNet, LogitsKD  # noqa: E402


def main():
    keras.utils.set_random_seed(0)
    with STRATEGY.scope() if STRATEGY else contextlib.nullcontext():
        student = small_cnn(6)
        student.get_layer(index=2).trainable = False
        methods = [FitNet("features", "features"), LogitsKD(), Noise(name="noise")]
        distiller = Distiller(small_cnn(12), student, methods)
        distiller.compile(
            keras.optimizers.SGD(
                0.05,
                momentum=0.9,
                weight_decay=0.01,
                global_clipnorm=0.5,
                use_ema=True,
            ),
            cross_entropy(),
            metrics=["accuracy"],
        )
    x, y = random_batch(np.random.default_rng(0), 80)
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(16)
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = (
        tf.data.experimental.AutoShardPolicy.DATA
    )
    data = data.with_options(options)
    # 20 steps; validation on 21 samples: the last batch is uneven.
    test = data.unbatch().take(21).batch(16).with_options(options)
    logs = distiller.fit(
        data, epochs=4, validation_data=test, shuffle=False, verbose=0
    ).history
    outputs = distiller.predict(test, verbose=0)
    print(
        json.dumps(
            {
                "logs": {name: [float(v) for v in vs] for name, vs in logs.items()},
                "weights": [
                    np.array(v).tolist() for v in distiller.trainable_variables
                ],
                "outputs": np.sort(outputs.ravel()).tolist(),
            }
        )
    )


main()
