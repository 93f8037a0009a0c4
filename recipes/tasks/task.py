"""Defines the interface between commands and tasks."""

import weakref

import keras
import numpy as np
import tensorflow as tf

_TRACED = weakref.WeakKeyDictionary()


class Task:
    """Loads a kind of data set, trains on it and judges models: the base class.

    Subclasses set the attributes and define every method that raises here.

    Attributes:
        name: value of `--task`.
        tap: layer that feature methods read in the models of the zoo.
        taps: layers that methods of several features read, or `None` if the models of
            the zoo do not have such a pair.
        gives_logits: whether the model's output is one tensor of class scores.
        vkd_normalization: normalization of the teacher's feature in VkD.
        global_clipnorm: what `--global_clipnorm` is if it is not set; `None` does not
            clip gradients.
        distill_weight: default of `--distill_weight`.
        temperature: default of `--temperature` for KD and DKD.
    """

    name = None
    tap = None
    taps = None
    gives_logits = True
    vkd_normalization = "layer"
    global_clipnorm = None
    distill_weight = "balanced"
    temperature = 4.0

    def load(self, name, **settings):
        """Returns the data set; `settings` are those of `load_classification`."""
        raise NotImplementedError

    def check_model(self, model, spec):
        """Raises `ValueError` unless the model's outputs are those of the task."""
        raise NotImplementedError

    def prepare_student(self, student):
        """Compiles a student that has its own loss, before it is trained."""

    def compile_arguments(self, data):
        """Returns `loss` and `metrics` for `Distiller.compile`."""
        raise NotImplementedError

    def callbacks(self, data):
        """Returns callbacks that add to the logs of an epoch, for training."""
        return []

    def evaluation(self, model, data):
        """Returns an `Evaluation` of the model's outputs on the test split.

        Args:
            model: `keras.Model`, which may decode its outputs.
            data: data set from `load`.
        """
        raise NotImplementedError

    def truths(self, targets):
        """Returns the targets of a batch as a list of predictions for `draw`."""
        raise NotImplementedError

    def predictions(self, model, outputs):
        """Returns the model's outputs, NumPy arrays, as such a list."""
        raise NotImplementedError

    def draw(self, axes, prediction, data):
        """Draws a prediction over an image, on axes of matplotlib."""
        raise NotImplementedError

    def describe(self, prediction, data):
        """Returns a prediction as text, or `None` if only a picture can show it."""

    def disagreement(self, first, second):
        """Measures how much two predictions for an image differ.

        Args:
            first: a prediction of one model.
            second: a prediction of another model.

        Returns:
            float from 0, for equal predictions, to 1.
        """
        raise NotImplementedError

    def metrics(self, model, data):
        """Returns a function `(outputs, targets) -> dict` that verifies artifacts."""

        def measure(outputs, targets):
            evaluation = self.evaluation(model, data)
            # An artifact names its outputs, even a single one.
            single = len(outputs) == 1 and self.gives_logits
            evaluation.update(
                next(iter(outputs.values())) if single else outputs, targets
            )
            return evaluation.result()

        return measure


class Evaluation:
    """Collects the outputs of a model for the test split, batch by batch."""

    def update(self, outputs, targets):
        """Adds a batch: the model's outputs and the targets, as NumPy arrays."""
        raise NotImplementedError

    def result(self):
        """Returns a dict from the name of each metric to a float from 0 to 1."""
        raise NotImplementedError


def evaluate(run, data, evaluation):
    """Runs a model over the test split.

    Args:
        run: function from `forward`.
        data: data set of the task.
        evaluation: new `Evaluation`.

    Returns:
        The result of the evaluation.
    """
    for images, targets in data.test:
        targets = keras.tree.map_structure(np.array, targets)
        evaluation.update(run(images), targets)
    return evaluation.result()


def forward(model):
    """Returns a function from a batch of images to the model's outputs in NumPy.

    A model is traced once, for batches of all sizes and for all who ask. `predict`
    would not do: KerasHub's detectors decode there, and fail on a smaller last batch.

    Args:
        model: `keras.Model`.
    """
    if model not in _TRACED:
        # A strong reference in the value would keep the key for ever.
        of_model = weakref.ref(model)
        _TRACED[model] = tf.function(lambda images: of_model()(images, training=False))

    def run(images):
        images = tf.convert_to_tensor(images)
        any_size = tf.TensorSpec((None, *images.shape[1:]), images.dtype)
        outputs = _TRACED[model].get_concrete_function(any_size)(images)
        return keras.tree.map_structure(np.array, outputs)

    return run
