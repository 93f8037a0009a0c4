"""A detector and a segmenter on one and on two replicas, with XLA and without."""

import keras
import numpy as np
from helpers.devices import scope_of
from helpers.replicas.comparison import check_same, freeze_statistics
from helpers.small_models import cross_entropy
from helpers.small_tasks import (
    DETECTOR_TAP,
    SEGMENTER_TAP,
    detection_batch,
    detectors,
    segmentation_batch,
    segmenters,
)

from keras_diffkd import Distiller, FitNet, LogitsKD


def make_detector():
    teacher, student = detectors()
    return teacher, student, [FitNet(DETECTOR_TAP, DETECTOR_TAP)], None


def make_segmenter():
    teacher, student = segmenters()
    methods = [FitNet(SEGMENTER_TAP, SEGMENTER_TAP, weight=30.0), LogitsKD()]
    return teacher, student, methods, cross_entropy()


def compiled(make, replicas, jit_compile=False):
    keras.utils.set_random_seed(0)
    with scope_of(replicas):
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
    return distiller, {
        "before": before,
        "three steps": steps.results,
        "idle": {"logs": logs, "weights": weights_of(distiller)},
    }


def take(data, samples):
    return keras.tree.map_structure(lambda v: v[samples], data)


def losses_of_halves(data, alone, shared):
    """The task loss of eight samples, and of what the replicas have of them."""
    shared.student.set_weights(alone.student.get_weights())
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


def results():
    """Trains both on one and on two replicas."""
    rng = np.random.default_rng(0)
    # RetinaNet divides by the objects of the batch that it sees, a replica's own: the
    # halves of a batch are the same images.
    order = [0, 1, 2, 3] * 2 + [4, 5, 6, 7] * 2 + [2, 1, 7, 0] * 2 + [3]
    detection = make_detector, take(detection_batch(rng, 8), order)
    alone, one = train(*detection, replicas=1, jit_compile=False)
    shared, two = train(*detection, replicas=2, jit_compile=False)
    _, one_xla = train(*detection, replicas=1, jit_compile=True)
    segmentation = make_segmenter, segmentation_batch(rng, 25)
    x, y = detection_batch(rng, 8)
    y["labels"][4:, 1:] = -1
    y["boxes"][4:, 1:] = -1
    return {
        "detector": {"one": one, "two": two, "one_xla": one_xla},
        "segmenter": {
            "one": train(*segmentation, replicas=1, jit_compile=True)[1],
            "two": train(*segmentation, replicas=2, jit_compile=False)[1],
        },
        "losses of halves": losses_of_halves((x, y), alone, shared),
    }


def check_three_steps_are_the_same(found, task, run):
    before = found[task]["one"]["before"]
    alone = found[task]["one"]["three steps"]
    moved = [
        np.abs(np.subtract(a, b)).max()
        for a, b in zip(alone["weights"], before, strict=True)
    ]
    assert np.max(moved) > 1e-4
    check_same(found[task][run]["three steps"], alone)
    parts = {
        "detector": {"bbox_regression_loss", "cls_logits_loss", "fitnet/distill"},
        "segmenter": {"fitnet/distill", "kd/distill"},
    }
    assert parts[task] | {"loss", "task_loss"} <= set(alone["logs"])


def check_a_replica_without_samples_changes_nothing(found):
    alone = found["detector"]["one"]["idle"]
    check_same(found["detector"]["two"]["idle"], alone)
    assert "val_loss" in alone["logs"]


def check_a_detectors_loss_is_the_mean_of_the_replicas_losses(found):
    """Each divides by its own objects; in one batch, all are divided by all."""
    losses = found["losses of halves"]
    mean = (losses["first"] + losses["second"]) / 2
    np.testing.assert_allclose(losses["two"], mean, rtol=1e-5)
    assert abs(losses["one"] - mean) > 1e-3 * mean


def check_the_first_batch_may_be_split_unevenly(found):
    losses = found["losses of halves"]
    mean = (4 * losses["first"] + 3 * losses["rest"]) / 7
    np.testing.assert_allclose(losses["uneven"], mean, rtol=1e-5)


def check(found):
    """Three steps, replicas without samples, what the loss is divided by."""
    check_three_steps_are_the_same(found, "detector", "two")
    check_three_steps_are_the_same(found, "detector", "one_xla")
    check_three_steps_are_the_same(found, "segmenter", "two")
    check_a_replica_without_samples_changes_nothing(found)
    check_a_detectors_loss_is_the_mean_of_the_replicas_losses(found)
    check_the_first_batch_may_be_split_unevenly(found)
