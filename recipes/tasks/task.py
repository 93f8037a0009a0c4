"""What the commands ask of a task."""

import keras
import numpy as np
import tensorflow as tf


class Task:
    """Base class: how a kind of data set is loaded, trained on and judged.

    Subclasses define the attributes and everything that raises here.

    Attributes:
        name: What `--task` takes.
        tap: The layer that feature methods read in the models of the zoo.
        taps: The layers that methods of several features read, or `None` if the
            models of the zoo have no such pair.
        gives_logits: Whether the model's output is one tensor of class scores.
        vkd_normalization: What VkD does to the teacher's feature.
    """

    name = None
    tap = None
    taps = None
    gives_logits = True
    vkd_normalization = "layer"

    def load(self, name, **settings):
        """Returns the data set; `settings` are those of `load_classification`."""
        raise NotImplementedError

    def check_model(self, model, spec):
        """Raises `ValueError` unless the model's outputs are those of the task."""
        raise NotImplementedError

    def prepare_student(self, student):
        """Gives a student that is to be trained a loss of its own, if it has one."""

    def compile_arguments(self, data):
        """Returns `loss` and `metrics` for `Distiller.compile`."""
        raise NotImplementedError

    def callbacks(self, data):
        """Returns callbacks that add to the logs of an epoch, for training."""
        return []

    def evaluation(self, model, data):
        """Returns an `Evaluation` of what the model gives on the test split.

        Args:
            model: `keras.Model`, which says how its outputs are to be decoded.
            data: What `load` returned.
        """
        raise NotImplementedError

    def truths(self, targets):
        """Returns what `draw` takes for the targets of a batch, a list."""
        raise NotImplementedError

    def predictions(self, model, outputs):
        """Returns the same for the model's outputs, as NumPy arrays."""
        raise NotImplementedError

    def draw(self, axes, said, data):
        """Draws one of them over an image, on axes of matplotlib."""
        raise NotImplementedError

    def describe(self, said, data):
        """Returns one of them as text, or `None` where only a picture can tell."""

    def disagreement(self, first, second):
        """Says how much two predictions for an image differ.

        Args:
            first: One of what `predictions` returned.
            second: The same of another model.

        Returns:
            float, 0 if they say the same, at most 1.
        """
        raise NotImplementedError

    def metrics(self, model, data):
        """Returns a function `(outputs, targets) -> dict`, for verifying artefacts."""

        def measure(outputs, targets):
            evaluation = self.evaluation(model, data)
            # An artefact names even its only output.
            single = len(outputs) == 1 and self.gives_logits
            evaluation.update(
                next(iter(outputs.values())) if single else outputs, targets
            )
            return evaluation.result()

        return measure


class Evaluation:
    """Collects what a model gave for the test split, batch by batch."""

    def update(self, outputs, targets):
        """Adds a batch: the model's outputs and the targets, as NumPy arrays."""
        raise NotImplementedError

    def result(self):
        """Returns a dict from the name of each metric to a float in 0 to 1."""
        raise NotImplementedError


def evaluate(run, data, evaluation):
    """Runs a model over the test split.

    Args:
        run: What `forward` returned for the model.
        data: What a task's `load` returned.
        evaluation: `Evaluation`, not used before.

    Returns:
        Its result.
    """
    for images, targets in data.test:
        targets = keras.tree.map_structure(np.array, targets)
        evaluation.update(run(images), targets)
    return evaluation.result()


def forward(model):
    """Returns a function from a batch of images to the model's outputs in NumPy.

    Not `predict`: KerasHub's detectors decode there, and fail on a smaller last batch.

    Args:
        model: `keras.Model`.
    """
    call = tf.function(
        lambda images: model(images, training=False), reduce_retracing=True
    )
    return lambda images: keras.tree.map_structure(np.array, call(images))
