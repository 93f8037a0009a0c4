"""Computes the logs of training and validation."""

import keras

from keras_diffkd.keras_private.trainer import (
    compile_loss_of,
    compile_metrics_of,
    loss_tracker_of,
)
from keras_diffkd.training import task_loss


class LossMeans:
    """Tracks the means of all losses over an epoch.

    Args:
        distiller: The `Distiller`.

    Attributes:
        trackers: Dict from the name of each loss in the logs to its
            `keras.metrics.Mean`. The weights of losses to balance follow the losses.
    """

    def __init__(self, distiller):
        names = ["task_loss"]
        for method in distiller.methods:
            for name in (*method.loss_weights, *method.metric_names):
                names.append(f"{method.name}/{name}")
        if distiller.loss_balance is not None:
            names += distiller.loss_balance.log_names
        self.trackers = {
            name: keras.metrics.Mean(name=name.replace("/", "_")) for name in names
        }

    def update(self, losses, batch_size):
        """Adds the losses of a batch.

        Args:
            losses: Dict of scalars.
            batch_size: Weight of the batch in the means.
        """
        for name, tracker in self.trackers.items():
            tracker.update_state(losses[name], sample_weight=batch_size)


def update_metrics(distiller, losses, batch, y_pred, batch_size=None):
    """Adds a batch to the means of all losses and to the metrics and returns the logs.

    Args:
        distiller: The `Distiller`.
        losses: Dict of scalars from `StepResults`.
        batch: `Batch`.
        y_pred: The student's outputs.
        batch_size: Weight of the losses in their means, or `None` for the size of `x`.
    """
    if batch_size is None:
        batch_size = keras.ops.shape(keras.tree.flatten(batch.x)[0])[0]
    loss_tracker_of(distiller).update_state(losses["loss"], sample_weight=batch_size)
    distiller.record.loss_means.update(losses, batch_size)
    return distiller.compute_metrics(
        batch.x, batch.y, y_pred, sample_weight=batch.sample_weight
    )


def all_metrics(distiller, of_keras):
    """Returns the metrics of a distiller in the order of its logs.

    Args:
        distiller: The `Distiller`.
        of_keras: The metrics that Keras lists, the total loss first.
    """
    others = list(of_keras)
    if distiller.compiled and compile_loss_of(distiller) is None:
        others += task_loss.parts(distiller)
    record = distiller.record
    return [
        *others[:1],
        *record.loss_means.trackers.values(),
        *others[1:],
        record.count,
    ]


def results(distiller, has_labels=True):
    """Returns a dict from the names in the logs to the results of all metrics.

    Args:
        distiller: The `Distiller`.
        has_labels: Boolean, whether the metrics received labels. If not, the compiled
            metrics and the parts of the task loss have no result and are left out.
    """
    compiled = compile_metrics_of(distiller)
    left_out = [] if has_labels else [compiled, *task_loss.parts(distiller)]
    trackers = distiller.record.loss_means.trackers
    names = {id(tracker): name for name, tracker in trackers.items()}
    logs = {}
    for metric in distiller.metrics:
        if any(metric is other for other in left_out):
            continue
        if metric is compiled and not metric.built:
            continue
        result = metric.result()
        if not isinstance(result, dict):
            result = {names.get(id(metric), metric.name): result}
        if id(metric) not in names:
            _check_names(result, trackers)
        logs.update(result)
    return logs


def _check_names(result, trackers):
    """Raises `ValueError` if a result of Keras has the name of one of our losses."""
    taken = sorted(set(result) & set(trackers))
    if taken:
        raise ValueError(
            f"The logs of a distiller already have {taken[0]!r}, which is its own "
            "loss. Received: an output or a metric that is logged under the same "
            "name (an output 'task' as 'task_loss'). Rename that output or metric."
        )


def of_validation(distiller, logs):
    """Returns the logs without those of training, which validation does not update."""
    record = distiller.record
    of_training = {*record.loss_means.trackers, record.count.name}
    return {name: log for name, log in logs.items() if name not in of_training}
