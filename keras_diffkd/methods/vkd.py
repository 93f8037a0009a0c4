"""VkD: compares features after an orthogonal projection and a normalization."""

import keras

from keras_diffkd import losses
from keras_diffkd.layers.orthogonal_projection import OrthogonalProjection
from keras_diffkd.methods.feature_maps import pooled, pooled_width
from keras_diffkd.methods.pyramid import PyramidMethod
from keras_diffkd.training.loss_weights import serialized
from keras_diffkd.validation.arguments import check_choice, check_weight

EPSILON = 1e-5


@keras.saving.register_keras_serializable(package="keras_diffkd")
class VkD(PyramidMethod):
    """Compares the projected student's feature with the normalized teacher's.

    `smooth_l1(P f_s, norm(f_t))` on features pooled over space or tokens. The
    projection `P` is trained with the student and stays orthogonal, so that it cannot
    learn in the student's place; see `layers.OrthogonalProjection`.

    Args:
        teacher_tap: `None`, or the layer of the teacher's feature: a vector
            `(batch, channels)`, or a feature `(batch, ..., channels)`, which is
            averaged over the axes between. A feature pyramid (a dictionary, or a
            list of layers) is compared level by level.
        student_tap: The same for the student; channels may differ.
        normalization: Normalization of the teacher's pooled feature: `"layer"`
            (without weights; for classification), `"batch"` (standardizes each
            channel over the batch; for detection), `"whiten"` (also decorrelates the
            channels; for generation) or `None`. It takes the batch of one replica.
            Whitening computes the eigenvectors of a `channels x channels` matrix in
            every step.
        weight: Float, `"balanced"` or schedule, weight of the loss in the total loss.
        name: String, prefix of the logs.

    Losses: `distill`.

    Raises:
        ValueError: If `normalization` is not one of these, or the number of channels
            of a feature is unknown.

    Example:

    >>> method = VkD("features", "features")
    >>> method.build((None, 4, 4, 16), (None, 4, 4, 8))
    >>> losses = method.compute_losses(
    ...     keras.ops.ones((2, 4, 4, 16)), keras.ops.ones((2, 4, 4, 8)))
    >>> sorted(losses)
    ['distill']

    Source: VkD (CVPR 2024, arXiv 2403.06213), abstract and authors' code. The
    symmetric (ZCA) form of the whitening is our reading.
    """

    def __init__(
        self,
        teacher_tap=None,
        student_tap=None,
        *,
        normalization="layer",
        weight=1.0,
        name="vkd",
    ):
        super().__init__(teacher_tap, student_tap, name=name)
        check_choice("normalization", normalization, NORMALIZATIONS)
        check_weight("weight", weight, can_balance=True)
        self.normalization = normalization
        self.weight = weight

    def build_feature(self, teacher_shape, student_shape):
        self.projection = OrthogonalProjection(
            pooled_width(student_shape, "student"),
            pooled_width(teacher_shape, "teacher"),
            name="projection",
        )
        self.projection.build((None, self.projection.input_features))

    def describe_bridge(self, teacher_shape, student_shape):
        pooling = "" if len(student_shape) == 2 else "mean over space, "
        widths = f"{student_shape[-1]} to {teacher_shape[-1]}"
        return f"{pooling}orthogonal projection {widths}"

    @property
    def loss_weights(self):
        return {"distill": self.weight}

    def feature_losses(
        self, teacher_features, student_features, targets=None, training=True
    ):
        normalize = NORMALIZATIONS[self.normalization]
        target = keras.ops.stop_gradient(normalize(pooled(teacher_features)))
        projected = self.projection(pooled(student_features))
        return {"distill": losses.smooth_l1(target, projected)}

    def get_config(self):
        return {
            **super().get_config(),
            "normalization": self.normalization,
            "weight": serialized(self.weight),
        }


def standardized(x, axis):
    """Returns `x` with mean 0 and variance 1 along an axis."""
    centered = x - keras.ops.mean(x, axis=axis, keepdims=True)
    variance = keras.ops.mean(keras.ops.square(centered), axis=axis, keepdims=True)
    return centered * keras.ops.rsqrt(variance + EPSILON)


def whitened(x):
    """Returns `(x - mean) (Σ + ε I)^(-1/2)`, `Σ` the covariance over the batch."""
    centered = x - keras.ops.mean(x, axis=0, keepdims=True)
    size = keras.ops.cast(keras.ops.shape(x)[0], x.dtype)
    covariance = keras.ops.matmul(keras.ops.transpose(centered), centered) / size
    values, vectors = keras.ops.eigh(covariance)
    # Rounding may put the zeros of a singular covariance just below zero.
    scales = keras.ops.rsqrt(keras.ops.maximum(values, 0.0) + EPSILON)
    rotated = keras.ops.matmul(centered, vectors) * scales
    return keras.ops.matmul(rotated, keras.ops.transpose(vectors))


NORMALIZATIONS = {
    "layer": lambda x: standardized(x, axis=-1),
    "batch": lambda x: standardized(x, axis=0),
    "whiten": whitened,
    None: lambda x: x,
}
