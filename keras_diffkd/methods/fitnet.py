"""Feature regression (FitNets): the baseline without denoising."""

import keras

from keras_diffkd import losses
from keras_diffkd.arguments import check_number
from keras_diffkd.layers.torch_like import dense
from keras_diffkd.methods.feature_maps import (
    as_map,
    check_interpolation,
    check_same_grid,
    describe_projection,
    map_shape,
    resize_to,
)
from keras_diffkd.methods.pyramid import PyramidMethod


@keras.saving.register_keras_serializable(package="keras_diffkd")
class FitNet(PyramidMethod):
    """Mean squared error of the projected student's feature.

    `mean((Conv1x1(F_s) - F_t)²)`, with the projection trained along.

    Args:
        teacher_tap: `None`, or the layer of the teacher's feature: a map
            `(batch, height, width, channels)`, square tokens
            `(batch, tokens, channels)` or a vector `(batch, channels)`. A layer
            that gives a dictionary of maps (a feature pyramid), or a list of
            layers: one projection for each, and the mean of their losses.
        student_tap: The same for the student; channels may differ.
        weight: Float, weight of the loss in the total loss.
        resize: `None`, `"nearest"` or `"bilinear"`: how to bring the student's
            map to the teacher's grid if they differ.
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
        name="fitnet",
    ):
        super().__init__(teacher_tap, student_tap, name=name)
        check_interpolation(resize)
        check_number("weight", weight, least=0)
        self.weight = weight
        self.resize = resize

    def build_feature(self, teacher_shape, student_shape):
        teacher_map = map_shape(teacher_shape, "teacher")
        student_map = map_shape(student_shape, "student")
        check_same_grid(teacher_map, student_map, self.resize)
        self.projection = dense(student_map[-1], teacher_map[-1], name="projection")
        self.projection.build((None, *student_map))

    def describe_bridge(self, teacher_shape, student_shape):
        return describe_projection(teacher_shape, student_shape, self.resize)

    @property
    def loss_weights(self):
        return {"distill": self.weight}

    def feature_losses(
        self, teacher_features, student_features, targets=None, training=True
    ):
        target = keras.ops.stop_gradient(as_map(teacher_features, "teacher"))
        projected = self.projection(as_map(student_features, "student"))
        projected = resize_to(projected, target, self.resize)
        return {"distill": losses.mean_squared_error(target, projected)}

    def get_config(self):
        return {**super().get_config(), "weight": self.weight, "resize": self.resize}
