"""Distils on JAX in a process that cannot import TensorFlow; prints JSON.

The argument is a path for the student's file.
"""

import json
import sys

sys.modules["tensorflow"] = None

import keras  # noqa: E402
import numpy as np  # noqa: E402
from helpers.small_models import cross_entropy, random_batch, small_cnn  # noqa: E402

import keras_diffkd  # noqa: E402
from keras_diffkd import DiffKD, Distiller, LogitsKD  # noqa: E402

assert keras.backend.backend() == "jax"
keras.utils.set_random_seed(0)
x, y = random_batch(np.random.default_rng(0), 64)
distiller = Distiller(
    small_cnn(12),
    small_cnn(6),
    [
        DiffKD(
            "features",
            "features",
            latent_channels=8,
            num_inference_steps=1,
            name="maps",
        ),
        LogitsKD(),
    ],
)
distiller.compile(
    keras.optimizers.SGD(0.05, momentum=0.9), cross_entropy(), metrics=["accuracy"]
)
history = distiller.fit(
    x, y, validation_data=(x, y), batch_size=32, epochs=4, verbose=0
).history
student = distiller.strip()
predictions = np.array(student(x, training=False))
results = {
    "distill": history["maps/distill"],
    "predictions": predictions.tolist(),
    "same_predictions": np.array_equal(predictions, distiller(x, training=False)),
}
student.save(sys.argv[1])
try:
    _ = keras_diffkd.datasets
except ImportError as error:
    results["datasets"] = str(error)
json.dump(results, sys.stdout)
