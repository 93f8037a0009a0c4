"""Defines a model that computes the outputs of the int8 student."""

import types

import keras

from keras_diffkd.features.own_inputs import own_inputs
from keras_diffkd.quantization.planning import quantization_plan
from keras_diffkd.quantization.ranges import QuantizationRanges, step_of
from keras_diffkd.quantization.simulation import simulating, weights_of_files
from keras_diffkd.training import backend


@keras.saving.register_keras_serializable(package="keras_diffkd")
class SimulatedStudent(keras.Model):
    """Computes what the int8 file of a student computes, in Keras.

    Weights are rounded to int8 per output channel, activations to 256 values of their
    ranges, and batch normalization is folded. The student itself does not change. On
    TensorFlow, the graph holds the ranges as constants of
    `fake_quant_with_min_max_vars` operations.

    Args:
        student: A built float `keras.Model`.
        ranges: `QuantizationRanges` of this student.

    Raises:
        ValueError: If the ranges belong to another student.

    Example:

    >>> from keras_diffkd.quantization import QuantizationRanges
    >>> image = keras.Input((8, 8, 1), name="image")
    >>> x = keras.layers.Conv2D(4, 3, activation="relu", name="conv")(image)
    >>> student = keras.Model(image, keras.layers.Flatten()(x))
    >>> ranges = QuantizationRanges({"image": (0.0, 1.0), "conv": (0.0, 2.0)})
    >>> SimulatedStudent(student, ranges)(keras.ops.ones((2, 8, 8, 1))).shape
    TensorShape([2, 144])
    """

    def __init__(self, student, ranges):
        super().__init__(name=student.name, dtype=student.dtype_policy, autocast=False)
        self.student = student
        # A plain object: Keras tracks lists and dicts in attributes.
        self._simulation = types.SimpleNamespace(
            plan=quantization_plan(student, ranges.skip), ranges=ranges, weights=None
        )
        ranges.check_sites(self._simulation.plan.sites, student)
        self.built = True

    def call(self, inputs, training=False):
        plan, weights = self._simulation.plan, self._simulation.weights
        with simulating(plan, self._rounded, step=self._step, weights=weights):
            return self.student(own_inputs(self.student, inputs), training=False)

    def hold_weights(self):
        """Rounds the weights once, and keeps them if the student's weights change.

        A weight in the middle of two int8 values is rounded up in one graph and down in
        another, which may compute its scale in another order. All graphs of a student
        that holds its weights agree, also the files that converters make of them.
        """
        self._simulation.weights = weights_of_files(self._simulation.plan, self._step)

    def _rounded(self, site, tensor):
        ranges = self._simulation.ranges.minimums_maximums
        return backend.fake_quantize(tensor, *ranges[site.name])

    def get_config(self):
        return {
            "student": keras.saving.serialize_keras_object(self.student),
            "ranges": self._simulation.ranges.to_json(),
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        student = keras.saving.deserialize_keras_object(
            config["student"], custom_objects=custom_objects
        )
        return cls(student, QuantizationRanges.from_json(config["ranges"]))

    def _step(self, site):
        return step_of(*self._simulation.ranges.minimums_maximums[site.name])

    @property
    def inputs(self):
        """The student's inputs as `KerasTensor`s."""
        return self.student.inputs

    @property
    def input(self):
        """The student's inputs in the structure that a call takes."""
        return self.student.input

    @property
    def output_names(self):
        """The names of the student's outputs."""
        return self.student.output_names

    @property
    def plan(self):
        """`QuantizationPlan` of the student."""
        return self._simulation.plan
