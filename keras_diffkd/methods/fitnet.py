"""FitNet: regression of features, the baseline without denoising."""

import keras

from keras_diffkd import losses
from keras_diffkd.methods.comparable import check_feature_kind, kinds_of
from keras_diffkd.methods.feature_maps import FeatureMaps, check_interpolation
from keras_diffkd.methods.pyramid import PyramidMethod
from keras_diffkd.training.loss_weights import serialized
from keras_diffkd.validation.arguments import check_weight


@keras.saving.register_keras_serializable(package="keras_diffkd")
class FitNet(PyramidMethod):
    """Compares the projected student's feature by its mean squared error.

    `mean((Conv1x1(F_s) - F_t)²)`. The projection is trained with the student.

    Args:
        teacher_tap: `None`, or the layer of the teacher's feature: a map
            `(batch, height, width, channels)`, tokens
            `(batch, tokens, channels)`, a sequence `(batch, timesteps, channels)`, a
            map of three dimensions `(batch, depth, height, width, channels)` or a
            vector `(batch, channels)`. A layer that gives a dictionary of maps (a
            feature pyramid), or a list of layers, gets one projection per level and
            the mean of their losses.
        student_tap: The same for the student; channels may differ.
        weight: Float, `"balanced"` or schedule, weight of the loss in the total loss.
        resize: `None`, `"nearest"` or `"bilinear"` (linear over time): resizes the
            student's map or sequence to the teacher's size.
        feature_kind: `"auto"` (the tapped layers tell), `"tokens"` or `"sequence"`: the
            kind of features with three axes. Two of the same length are compared
            position by position, whatever their kind.
        name: String, prefix of the logs.

    Losses: `distill`.

    Raises:
        ValueError: If a feature has no usable shape, or the grids differ and
            `resize` is `None`.

    Example:

    >>> method = FitNet("features", "features")
    >>> method.build((None, 4, 4, 16), (None, 4, 4, 8))
    >>> losses = method.compute_losses(
    ...     keras.ops.ones((2, 4, 4, 16)), keras.ops.ones((2, 4, 4, 8)))
    >>> sorted(losses)
    ['distill']

    Source: FitNets (arXiv 1412.6550), with the 1x1 projection in common use.
    """

    def __init__(
        self,
        teacher_tap=None,
        student_tap=None,
        *,
        weight=1.0,
        resize=None,
        feature_kind="auto",
        name="fitnet",
    ):
        super().__init__(teacher_tap, student_tap, name=name)
        check_interpolation(resize)
        check_feature_kind(feature_kind)
        check_weight("weight", weight, can_balance=True)
        self.weight = weight
        self.resize = resize
        self.feature_kind = feature_kind

    def build_feature(self, teacher_shape, student_shape):
        kinds = self._kinds(teacher_shape, student_shape)
        self.maps = FeatureMaps(kinds, teacher_shape, student_shape, self.resize)
        self.projection = self.maps.projection(name="projection")

    def _kinds(self, teacher_shape, student_shape):
        told = {self.feature_kind} - {"auto"} or set(self.tapped_kinds) - {None}
        shapes = teacher_shape, student_shape
        known = all(len(shape) == 3 and shape[-1] is not None for shape in shapes)
        if known and self.resize is None and len(told) < 2:
            # Class tokens may be among them, so compare position by position.
            return ("sequence", "sequence")
        return kinds_of(self, teacher_shape, student_shape)

    def describe_bridge(self, teacher_shape, student_shape):
        return self.maps.describe_projection()

    @property
    def loss_weights(self):
        return {"distill": self.weight}

    def feature_losses(
        self, teacher_features, student_features, targets=None, training=True
    ):
        target = self.maps.teacher(teacher_features)
        projected = self.projection(self.maps.student(student_features))
        projected = self.maps.resized(projected, target)
        return {"distill": losses.mean_squared_error(target, projected)}

    def get_config(self):
        return {
            **super().get_config(),
            "weight": serialized(self.weight),
            "resize": self.resize,
            "feature_kind": self.feature_kind,
        }
