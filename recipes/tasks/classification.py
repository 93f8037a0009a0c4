"""Defines image classification."""

import keras
import numpy as np
from keras.metrics import SparseCategoricalAccuracy

from keras_diffkd import datasets
from keras_diffkd.features.logits import output_activation

from .task import Evaluation, Task

# The label of an image of --unlabeled.
UNLABELED = -1
# With fewer classes, top-5 accuracy is not informative.
MIN_CLASSES_FOR_TOP5 = 100


class Classification(Task):
    """Predicts one label for each image; models output logits."""

    name = "classification"
    tap = "features"
    taps = ("stage1", "features")

    def load(self, name, **settings):
        return datasets.load_classification(name, **settings)

    def check_model(self, model, spec):
        check_outputs_logits(model, spec)
        output = getattr(model, "output", None)
        if isinstance(output, dict) or len(getattr(output, "shape", "bc")) != 2:
            raise ValueError(
                f"{spec} must be a classifier, with logits (batch, classes). Received: "
                f"outputs of shape {model.output_shape}. Check --task"
            )

    def compile_arguments(self, data):
        unlabeled = data.num_unlabeled_examples > 0
        accuracy = LabeledAccuracy if unlabeled else SparseCategoricalAccuracy
        return {
            "loss": keras.losses.SparseCategoricalCrossentropy(
                from_logits=True, ignore_class=UNLABELED if unlabeled else None
            ),
            "metrics": [accuracy(name="accuracy")],
        }

    def evaluation(self, model, data):
        ranks = (1, 5) if data.num_classes >= MIN_CLASSES_FOR_TOP5 else (1,)
        return Accuracy(ranks, data.num_classes)

    def truths(self, targets):
        return [(label, None) for label in targets]

    def predictions(self, model, outputs):
        probabilities = np.array(keras.ops.softmax(outputs))
        return list(zip(probabilities.argmax(-1), probabilities.max(-1), strict=True))

    def draw(self, axes, prediction, data):
        axes.text(
            0.04,
            0.96,
            self.describe(prediction, data),
            color="white",
            va="top",
            transform=axes.transAxes,
            bbox={"facecolor": "black", "edgecolor": "none", "pad": 1},
        )

    def describe(self, prediction, data):
        label, probability = prediction
        known = label < data.num_classes
        text = data.label_names[label] if known else str(label)
        return text if probability is None else f"{text} {probability:.0%}"

    def disagreement(self, first, second):
        # Most if both are sure of different labels.
        (label, probability), (other, of_other) = first, second
        return 0.0 if label == other else float(probability * of_other)

    def metrics(self, model, data):
        return None  # Accuracy is the default metric of artifacts.


class LabeledAccuracy(SparseCategoricalAccuracy):
    """Measures the accuracy on the images that have a label."""

    def update_state(self, y_true, y_pred, sample_weight=None):
        labeled = keras.ops.not_equal(y_true, UNLABELED)
        weight = keras.ops.cast(labeled, self.dtype)
        if sample_weight is not None:
            weight = weight * keras.ops.cast(sample_weight, self.dtype)
        super().update_state(y_true, y_pred, weight)


class Accuracy(Evaluation):
    """Measures top-k accuracies.

    Args:
        ranks: iterable of int, each k.
        num_classes: int. A teacher that taught only features may have another number
            of classes; then there is no result.
    """

    def __init__(self, ranks, num_classes):
        self.ranks = ranks
        self.num_classes = num_classes
        self._hits = {k: [] for k in ranks}

    def update(self, outputs, targets):
        if outputs.shape[-1] != self.num_classes:
            return
        # As `argmax` takes the first of equal logits, which int8 students often have.
        # `in_top_k` would count all of them.
        order = np.argsort(-np.asarray(outputs), axis=-1, kind="stable")
        for k, hits in self._hits.items():
            hits.append((order[:, :k] == np.asarray(targets)[:, None]).any(-1))

    def result(self):
        return {
            f"top-{k} accuracy": float(np.mean(np.concatenate(hits)))
            for k, hits in self._hits.items()
            if hits
        }


def check_outputs_logits(model, name):
    """Raises `ValueError` if the model ends in a softmax or sigmoid."""
    activation = output_activation(model)
    if activation in ("softmax", "sigmoid"):
        raise ValueError(
            f"{name} must output logits, which training and export expect. Received: "
            f"a model that ends in {activation}. Set the last layer's activation to "
            "None"
        )
