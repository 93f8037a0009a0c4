"""The teacher of a distiller: looked at, never trained and never saved."""

import warnings

import keras

from keras_diffkd.features.taps import call_with_taps, input_spec, output_specs
from keras_diffkd.features.weights_fingerprint import hash_weights


class FrozenTeacher:
    """Holds the teacher where Keras does not find it.

    Keras trains and saves every model that it finds in the attributes, lists
    and properties of another one; it does not look into a plain object.

    Args:
        model: A built `keras.Model`, or `None` for a distiller without methods.
        preprocess: Optional callable that turns the student's batch of inputs
            into the teacher's.
    """

    def __init__(self, model, preprocess=None):
        self.model = model
        self.preprocess = preprocess
        # Of a saved distiller's teacher, until its weights have come back.
        self.awaited_fingerprint = None

    def features(self, x, taps):
        """Returns a dict from tap to the teacher's feature for a batch."""
        _, features = call_with_taps(
            self.model, self._prepared(x), taps, training=False
        )
        return {
            tap: keras.tree.map_structure(keras.ops.stop_gradient, feature)
            for tap, feature in features.items()
        }

    def specs(self, inputs, taps):
        """Returns `(outputs, features)` as `KerasTensor`s, for such inputs."""
        if self.preprocess is not None:
            inputs = self._prepared_spec(inputs)
        return output_specs(self.model, inputs, taps)

    def _prepared_spec(self, inputs):
        """Returns what the preprocessing gives, as `KerasTensor`s.

        It may read entries of the batch that the student does not take: what the
        teacher takes is known then.
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
        """Returns the SHA-256 of the weights that are expected, or `None`."""
        if self.awaited_fingerprint is not None or self.model is None:
            return self.awaited_fingerprint
        return hash_weights(self.model)

    def check_weights(self):
        """Raises `ValueError` while the teacher of a loaded distiller is missing."""
        if self.awaited_fingerprint is None:
            return
        if hash_weights(self.model) != self.awaited_fingerprint:
            raise ValueError(
                "This distiller was created from a saved one, and files of a distiller "
                "do not hold the teacher's weights. Before `fit`, give it the trained "
                "teacher: `distiller.attach_teacher(keras.models.load_model(...))`, or "
                "`distiller.teacher.load_weights(...)`."
            )
        self.awaited_fingerprint = None

    def warn_if_other_weights(self):
        """Warns if the teacher is not the one that a loaded distiller had."""
        awaited, self.awaited_fingerprint = self.awaited_fingerprint, None
        if awaited is not None and hash_weights(self.model) != awaited:
            warnings.warn(
                f"The teacher {self.model.name!r} has other weights than the one that "
                "this distiller was saved with.",
                stacklevel=3,
            )


class _Preprocessing(keras.layers.Layer):
    """Lets Keras compute the shapes that a preprocessing gives."""

    def __init__(self, teacher):
        super().__init__()
        self._teacher = teacher

    def call(self, inputs):
        return self._teacher._prepared(inputs)
