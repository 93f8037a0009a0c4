"""Defines semantic segmentation."""

import keras
import numpy as np

from keras_diffkd import datasets

from .classification import check_outputs_logits
from .task import Evaluation, Task


class Segmentation(Task):
    """Predicts one label for each pixel; models output logits."""

    name = "segmentation"
    tap = "backbone/spatial_pyramid_pooling"
    # As in the literature. 4 can ruin trained students: docs/shrinking.md.
    temperature = 1.0
    # Balanced weights gained no more: docs/choosing_a_method.md.
    distill_weight = 1.0

    def load(self, name, **settings):
        return datasets.load_segmentation(name, **settings)

    def check_model(self, model, spec):
        check_outputs_logits(model, spec)
        output = getattr(model, "output", None)
        if isinstance(output, dict) or len(getattr(output, "shape", "bhwc")) != 4:
            raise ValueError(
                f"{spec} must be a segmenter, with logits (batch, height, width, "
                f"classes). Received: outputs of shape {model.output_shape}. Check "
                "--task"
            )

    def compile_arguments(self, data):
        return {
            "loss": keras.losses.SparseCategoricalCrossentropy(
                from_logits=True, ignore_class=data.ignore_label
            ),
            "metrics": [_metric(data.num_classes, data.ignore_label)],
        }

    def evaluation(self, model, data):
        return MeanIoU(data.num_classes, data.ignore_label)

    def truths(self, targets):
        return list(targets)

    def predictions(self, model, outputs):
        return list(outputs.argmax(-1))

    def draw(self, axes, prediction, data):
        # Class 0 is the background of most data sets, which stays visible.
        hidden = (prediction == 0) | (prediction == data.ignore_label)
        shown = np.ma.masked_where(hidden, prediction)
        axes.imshow(shown, cmap="tab20", vmin=0, vmax=19, alpha=0.75)

    def disagreement(self, first, second):
        return float(np.mean(first != second))


class MeanIoU(Evaluation):
    """Measures the mean intersection over union of the classes.

    Args:
        num_classes: int.
        ignore_label: label of pixels that do not count, or `None`.
    """

    def __init__(self, num_classes, ignore_label):
        self._metric = _metric(num_classes, ignore_label)

    def update(self, outputs, targets):
        self._metric.update_state(targets, outputs)

    def result(self):
        return {"mIoU": float(self._metric.result())}


def _metric(num_classes, ignore_label):
    return keras.metrics.MeanIoU(
        num_classes,
        ignore_class=ignore_label,
        sparse_y_pred=False,
        name="mean_iou",
    )
