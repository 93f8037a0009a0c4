"""Trains a detector and a segmenter on one and on two replicas; prints JSON.

A process of its own: logical devices must be set before TensorFlow is used.
"""

import contextlib
import json
import sys

import keras
import numpy as np
from helpers.devices import mirrored_on_two_devices
from helpers.garbage import collect_less
from helpers.graphs import optimize_no_graphs
from helpers.small_models import cross_entropy
from helpers.small_tasks import (
    DETECTOR_TAP,
    SEGMENTER_TAP,
    detection_batch,
    detectors,
    segmentation_batch,
    segmenters,
)

from keras_diffkd import DiffKD, Distiller, FitNet, LogitsKD

collect_less()
STRATEGY = mirrored_on_two_devices()
optimize_no_graphs()
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
    return DrawsOfHalves(tap, tap, latent_channels=8, num_inference_steps=1)


def make_detector():
    teacher, student = detectors()
    return teacher, student, [diffkd(DETECTOR_TAP)], None


def make_segmenter():
    teacher, student = segmenters()
    methods = [FitNet(SEGMENTER_TAP, SEGMENTER_TAP, weight=30.0), LogitsKD()]
    return teacher, student, methods, cross_entropy()


def freeze_statistics(model):
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False


def compiled(make, replicas, jit_compile=False):
    keras.utils.set_random_seed(0)
    with STRATEGY.scope() if replicas > 1 else contextlib.nullcontext():
        teacher, student, methods, loss = make()
        freeze_statistics(student)
        distiller = Distiller(teacher, student, methods)
        for method in methods:
            freeze_statistics(method)
        optimizer = keras.optimizers.SGD(1e-3, momentum=0.9)
        distiller.compile(optimizer, loss, jit_compile=jit_compile)
    return distiller


class AfterThreeSteps(keras.callbacks.Callback):
    """Keeps the logs and weights after the third step."""

    def on_train_batch_end(self, batch, logs=None):
        if batch == 2:
            self.results = {"logs": dict(logs), "weights": weights_of(self.model)}


def weights_of(distiller):
    weights = map(keras.ops.convert_to_numpy, distiller.trainable_variables)
    return [value.ravel()[:500].tolist() for value in weights]


def train(make, data, replicas, jit_compile):
    """Three steps; without XLA also one, and a validation, that idle a replica."""
    distiller = compiled(make, replicas, jit_compile)
    before = weights_of(distiller)
    x, y = data if not jit_compile else take(data, slice(24))
    steps = AfterThreeSteps()
    logs = distiller.fit(
        x,
        y,
        batch_size=8,
        validation_data=None if jit_compile else take(data, slice(16, 25)),
        shuffle=False,
        callbacks=[steps],
        verbose=0,
    ).history
    logs = {name: values[-1] for name, values in logs.items()}
    return {
        "before": before,
        "three steps": steps.results,
        "idle": {"logs": logs, "weights": weights_of(distiller)},
    }


def take(data, samples):
    return keras.tree.map_structure(lambda v: v[samples], data)


def losses_of_halves(data):
    """The task loss of eight samples, and of what the replicas have of them."""
    alone, shared = compiled(make_detector, 1), compiled(make_detector, 2)
    results = {}
    for name, distiller, part in (
        ("one", alone, slice(8)),
        ("first", alone, slice(4)),
        ("second", alone, slice(4, 8)),
        ("rest", alone, slice(4, 7)),
        ("two", shared, slice(8)),
        ("uneven", shared, slice(7)),
    ):
        x, y = take(data, part)
        logs = distiller.evaluate(x, y, batch_size=8, verbose=0, return_dict=True)
        results[name] = logs["loss"]
    return results


def main():
    rng = np.random.default_rng(0)
    # RetinaNet divides by the objects of the batch that it sees, a replica's own: the
    # halves of a batch are the same images.
    order = [0, 1, 2, 3] * 2 + [4, 5, 6, 7] * 2 + [2, 1, 7, 0] * 2 + [3]
    runs = {
        "detector": (make_detector, take(detection_batch(rng, 8), order)),
        "segmenter": (make_segmenter, segmentation_batch(rng, 25)),
    }
    results = {
        "detector": {
            "one": train(*runs["detector"], replicas=1, jit_compile=False),
            "two": train(*runs["detector"], replicas=2, jit_compile=False),
            "one_xla": train(*runs["detector"], replicas=1, jit_compile=True),
        },
        "segmenter": {
            "one": train(*runs["segmenter"], replicas=1, jit_compile=False),
            "two_xla": train(*runs["segmenter"], replicas=2, jit_compile=True),
        },
    }
    x, y = detection_batch(rng, 8)
    y["labels"][4:, 1:] = -1
    y["boxes"][4:, 1:] = -1
    results["losses of halves"] = losses_of_halves((x, y))
    json.dump(results, sys.stdout)


main()
