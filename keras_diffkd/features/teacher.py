"""Runs the teacher of a distiller, which is never trained and never saved."""

import warnings

import keras

from keras_diffkd.features.specs import input_spec, output_specs
from keras_diffkd.features.taps import call_with_taps
from keras_diffkd.features.weights_fingerprint import hash_weights


class FrozenTeacher:
    """Holds the teacher in a place where Keras does not find it.

    Keras trains and saves every model in the attributes, lists and properties of
    another model, but it does not search a plain object.

    Args:
        model: A built `keras.Model`, or `None` for a distiller without methods.
        preprocess: Optional callable that converts the student's batch of inputs
            for the teacher.
    """

    def __init__(self, model, preprocess=None):
        self.model = model
        self.preprocess = preprocess
        # The fingerprint in a loaded distiller, until the teacher's weights are back.
        self.awaited_fingerprint = None

    def features(self, x, taps):
        """Returns a dict from tap to the teacher's feature for one batch."""
        _, features = call_with_taps(
            self.model, self._prepared(x), taps, training=False
        )
        return {
            tap: keras.tree.map_structure(keras.ops.stop_gradient, feature)
            for tap, feature in features.items()
        }

    def specs(self, inputs, taps):
        """Returns `(outputs, features)` as `KerasTensor`s for the given inputs."""
        if self.preprocess is not None:
            inputs = self._prepared_spec(inputs)
        return output_specs(self.model, inputs, taps)

    def _prepared_spec(self, inputs):
        """Returns the preprocessed inputs as `KerasTensor`s.

        The preprocessing may read entries of the batch that the student does not
        take. In that case these are the teacher's own inputs.
        """
        try:
            return _Preprocessing(self).compute_output_spec(inputs)
        except (LookupError, TypeError):
            spec = input_spec(self.model)
            if spec is None:
                raise
            return spec

    def _prepared(self, x):
        if self.preprocess is None:
            return x
        if isinstance(self.preprocess, keras.layers.Layer):
            return self.preprocess(x, training=False)
        return self.preprocess(x)

    def fingerprint(self):
        """Returns the SHA-256 of the expected weights, or `None`."""
        if self.awaited_fingerprint is not None or self.model is None:
            return self.awaited_fingerprint
        return hash_weights(self.model)

    def check_weights(self):
        """Raises `ValueError` while the teacher of a loaded distiller is missing."""
        if self.awaited_fingerprint is None:
            return
        if hash_weights(self.model) != self.awaited_fingerprint:
            raise ValueError(
                "This distiller was loaded from a file or copied, and does not hold "
                "the teacher's weights. Before `fit`, attach the trained teacher with "
                "`distiller.attach_teacher(keras.models.load_model(...))`, or load its "
                "weights with `distiller.teacher.load_weights(...)`."
            )
        self.awaited_fingerprint = None

    def warn_if_other_weights(self):
        """Warns if the weights differ from those of the teacher that was saved."""
        awaited, self.awaited_fingerprint = self.awaited_fingerprint, None
        if awaited is not None and hash_weights(self.model) != awaited:
            warnings.warn(
                f"The teacher {self.model.name!r} does not have the weights of the "
                "teacher that this distiller was saved with. Check that this is the "
                "right teacher.",
                stacklevel=3,
            )


class _Preprocessing(keras.layers.Layer):
    """Wraps the preprocessing in a layer, so that Keras computes its output shapes."""

    def __init__(self, teacher):
        super().__init__()
        self._teacher = teacher

    def call(self, inputs):
        return self._teacher._prepared(inputs)
