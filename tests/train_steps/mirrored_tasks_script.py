"""Trains a detector and a segmenter on one and on two replicas; prints JSON.

A process of its own: logical devices must be set before TensorFlow is used.
"""

import contextlib
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
from small_models import cross_entropy  # noqa: E402
from small_tasks import (  # noqa: E402
    DETECTOR_TAP,
    SEGMENTER_TAP,
    detection_batch,
    detectors,
    segmentation_batch,
    segmenters,
)

from keras_diffkd import DiffKD, Distiller, LogitsKD  # noqa: E402

# One for all: the collective operations of two strategies get in each other's way.
STRATEGY = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
HALF = 4


class DrawsOfHalves(DiffKD):
    """Draws the same for the samples 4 to 7 of a batch as for 0 to 3."""

    def feature_losses(self, teacher_features, *args, **kwargs):
        rng = np.random.default_rng(1)
        shape = (HALF, *teacher_features.shape[1:3], self.latent_channels)
        draws = {
            "init_noise": rng.normal(size=shape).astype("float32"),
            "denoise_noise": rng.normal(size=shape).astype("float32"),
            "timesteps": rng.integers(0, 1000, HALF).astype("int32"),
        }
        samples = keras.ops.arange(keras.ops.shape(teacher_features)[0]) % HALF
        draws = {
            name: keras.ops.take(value, samples, axis=0)
            for name, value in draws.items()
        }
        return super().feature_losses(teacher_features, *args, **draws, **kwargs)


def diffkd(tap):
    return DrawsOfHalves(tap, tap, latent_channels=8, num_inference_steps=2)


def make_detector():
    teacher, student = detectors()
    return teacher, student, [diffkd(DETECTOR_TAP)], None


def make_segmenter():
    teacher, student = segmenters()
    return teacher, student, [diffkd(SEGMENTER_TAP), LogitsKD()], cross_entropy()


def freeze_statistics(model):
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False


def train(make, data, replicas, jit_compile):
    keras.utils.set_random_seed(0)
    x, y = data
    with STRATEGY.scope() if replicas > 1 else contextlib.nullcontext():
        teacher, student, methods, loss = make()
        freeze_statistics(student)
        distiller = Distiller(teacher, student, methods)
        for method in methods:
            freeze_statistics(method)
        optimizer = keras.optimizers.SGD(1e-3, momentum=0.9)
        distiller.compile(optimizer, loss, jit_compile=jit_compile)
    before = [np.array(v) for v in distiller.trainable_variables]
    logs = distiller.fit(
        x, y, batch_size=8, validation_data=data, shuffle=False, verbose=0
    ).history
    after = [np.array(v) for v in distiller.trainable_variables]
    moved = [np.abs(a - b).max() for a, b in zip(after, before, strict=True)]
    return {
        "logs": {name: values[-1] for name, values in logs.items()},
        "weights": [value.ravel()[:2000].tolist() for value in after],
        "moved": float(np.max(moved)),
    }


def repeated(values):
    """17 samples: two batches of equal halves, and one that idles a replica."""
    order = [0, 1, 2, 3] * 2 + [4, 5, 6, 7] * 2 + [8]
    return keras.tree.map_structure(lambda v: v[order], values)


def main():
    rng = np.random.default_rng(0)
    # RetinaNet divides by the objects of the batch that it sees, a replica's own.
    detection = repeated(detection_batch(rng, 9))
    uneven = detection_batch(rng, 8)
    uneven[1]["labels"][4:, 1:] = -1
    uneven[1]["boxes"][4:, 1:] = -1
    segmentation = segmentation_batch(rng, 17)
    results = {
        "detector": {
            "one": train(make_detector, detection, 1, False),
            "two": train(make_detector, detection, 2, False),
            "two_xla": train(make_detector, detection, 2, True),
        },
        "segmenter": {
            "one": train(make_segmenter, segmentation, 1, False),
            "one_xla": train(make_segmenter, segmentation, 1, True),
            "two": train(make_segmenter, segmentation, 2, False),
            "two_xla": train(make_segmenter, segmentation, 2, True),
        },
        "other objects": {
            "two": train(make_detector, uneven, 2, False),
            **{
                half: train(
                    make_detector,
                    keras.tree.map_structure(lambda v, part=part: v[part], uneven),
                    1,
                    False,
                )
                for half, part in (("first", slice(4)), ("second", slice(4, 8)))
            },
        },
    }
    json.dump(results, sys.stdout)


main()
