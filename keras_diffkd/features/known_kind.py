"""Tells the kind of a feature where no layer before it does."""

import keras


@keras.saving.register_keras_serializable(package="keras_diffkd")
class KnownKind(keras.layers.Layer):
    """Passes a feature on and knows its kind, for a model of stored features.

    Args:
        kind: `"tokens"`, `"sequence"` or another kind of `features.kinds.kind_of`.
        **kwargs: Arguments of `keras.layers.Layer`.

    Example:

    >>> from keras_diffkd.features.kinds import kind_of
    >>> stored = keras.Input((16, 8))
    >>> model = keras.Model(stored, KnownKind("tokens", name="block")(stored))
    >>> kind_of(model, "block", (None, 16, 8))
    'tokens'
    """

    def __init__(self, kind, **kwargs):
        super().__init__(**kwargs)
        self.kind = kind

    def call(self, inputs):
        return inputs

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "kind": self.kind}
