"""Runs a teacher for its logits and tapped features."""

import types

import keras

from keras_diffkd.features.kinds import channel_axis_of, channels_last, kind_of
from keras_diffkd.features.logits import evidence_of_probabilities
from keras_diffkd.features.specs import input_spec, output_specs
from keras_diffkd.features.taps import check_is_tensor
from keras_diffkd.features.teacher import FrozenTeacher
from keras_diffkd.methods.feature_maps import pooled
from keras_diffkd.training import backend, fused_batch_normalization


class TeacherOutputs:
    """Computes the outputs of a teacher that a cache stores.

    Args:
        teacher: A built `keras.Model` with logits of shape `(batch, classes)`, or
            `(batch, height, width, classes)` for segmentation.
        taps: Iterable of taps whose features are wanted whole, channels last.
        pooled: Iterable of taps whose features are wanted as means over positions.
        preprocess: Optional callable on the batch of images, in front of the teacher.

    Attributes:
        classes: Integer.
        positions: List, the height and width of a map of logits. Otherwise empty.
        features: Dict from tap to the shape of its feature, without the batch axis.
        kinds: Dict from tap to the kind of a feature with three axes.

    Raises:
        ValueError: If the teacher does not give logits, or a tap does not exist or
            does not give a feature of known shape.

    Example:

    >>> image = keras.Input((8, 8, 1))
    >>> x = keras.layers.Conv2D(4, 3, name="features")(image)
    >>> x = keras.layers.GlobalAveragePooling2D()(x)
    >>> teacher = keras.Model(image, keras.layers.Dense(10)(x))
    >>> outputs = TeacherOutputs(teacher, pooled=["features"])
    >>> outputs.features
    {'features': (4,)}
    >>> found = outputs(np.zeros((2, 8, 8, 1), "float32"))
    >>> found[None].shape, found["features"].shape
    ((2, 10), (2, 4))
    """

    def __init__(self, teacher, taps=(), pooled=(), preprocess=None):
        _check_taps(taps, pooled)
        self._teacher = teacher
        self._taps, self._pooled = [*taps, *pooled], set(pooled)
        self._model = _Tapped(teacher, self._taps, self._pooled, preprocess)
        self._model.compile(jit_compile=backend.keras_jit_compile("auto"))
        spec = input_spec(teacher)
        if not hasattr(spec, "shape"):
            raise ValueError(
                f"The teacher {teacher.name!r} must take one image. Received: "
                f"inputs {spec}. Define it with one keras.Input."
            )
        outputs, features = output_specs(teacher, spec, self._taps)
        _check_gives_logits(teacher, outputs)
        *self.positions, self.classes = outputs.shape[1:]
        self.kinds = {}
        self.features = {
            tap: self._shape(tap, feature) for tap, feature in features.items()
        }

    def _shape(self, tap, feature):
        """Returns the shape that is stored of a feature, and notes axis and kind."""
        check_is_tensor(self._teacher, tap, feature)
        axis = channel_axis_of(self._teacher, tap, feature.shape)
        self._model.channel_axes[tap] = axis
        *positions, channels = channels_last(feature, axis).shape[1:]
        shape = (channels,) if tap in self._pooled else (*positions, channels)
        if None in shape:
            raise ValueError(
                f"The feature {tap!r} of the teacher {self._teacher.name!r} must have "
                f"a fixed size to be stored. Received: shape {tuple(feature.shape)}. "
                "Define the teacher for images of one size."
            )
        kind = kind_of(self._teacher, tap, feature.shape)
        if len(shape) == 2 and kind is not None:
            self.kinds[tap] = kind
        return shape

    def __call__(self, images):
        """Returns a dict from `None` (the logits) and each tap to a float32 array.

        Args:
            images: Array `(batch, height, width, channels)`.
        """
        # As a distiller runs it, for the same rounding errors.
        with fused_batch_normalization(self._teacher):
            outputs = self._model.predict_on_batch(images)
        return dict(zip([None, *self._taps], outputs, strict=True))


class _Tapped(keras.Model):
    """Gives the logits and features of a teacher as a list, in float32."""

    def __init__(self, teacher, taps, means, preprocess):
        # The teacher casts as it does elsewhere, whatever the policy of new models.
        super().__init__(name="tapped", dtype="float32", autocast=False)
        # A plain object: the teacher is not a part of this model.
        self._settings = types.SimpleNamespace(
            teacher=FrozenTeacher(teacher, preprocess), taps=taps, means=means
        )
        self.channel_axes = {}  # Filled when the shapes are known.

    def call(self, images):
        teacher, taps = self._settings.teacher, self._settings.taps
        features = teacher.features(images, [None, *taps])
        found = [features[None]]
        for tap in taps:
            feature = channels_last(features[tap], self.channel_axes[tap])
            found.append(pooled(feature) if tap in self._settings.means else feature)
        return [keras.ops.cast(each, "float32") for each in found]


def _check_taps(whole, pooled):
    taps = [*whole, *pooled]
    for tap in taps:
        if not isinstance(tap, str) or not tap or ":" in tap:
            raise ValueError(
                "Taps to store must be names or paths of layers that give a tensor. "
                f"Received: {tap!r}. The logits are always stored."
            )
        if taps.count(tap) > 1:
            raise ValueError(
                f"Each tap can be stored once, whole or pooled. Received: {tap!r} "
                "twice. Remove one of them."
            )
        inside = [other for other in taps if other.startswith(f"{tap}/")]
        if inside:
            raise ValueError(
                "Taps to store must not contain each other. Received: "
                f"{tap!r} and {inside[0]!r}. Build a cache for each of them."
            )


def _check_gives_logits(teacher, outputs):
    shape = getattr(outputs, "shape", ())
    if len(shape) not in (2, 4) or None in shape[1:]:
        received = tuple(shape) or "several outputs"
        raise ValueError(
            f"The teacher {teacher.name!r} must have one output of logits, (batch, "
            "classes) of a classifier or (batch, height, width, classes) of a "
            f"segmenter for images of one size. Received: {received}. Teachers for "
            "other tasks cannot be stored: train with the teacher itself."
        )
    if evidence := evidence_of_probabilities(teacher):
        raise ValueError(
            f"The teacher {teacher.name!r} must give logits. Received: probabilities "
            f"({evidence}). Remove the final activation."
        )
