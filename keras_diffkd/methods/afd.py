"""AFD: attention chooses which feature of the student follows which of the teacher."""

import math

import keras

from keras_diffkd.layers.torch_like import batch_normalization, dense
from keras_diffkd.methods.comparable import check_alike, check_feature_kind, single_kind
from keras_diffkd.methods.feature_maps import (
    as_map,
    check_several_taps,
    map_shape,
    pooled,
)
from keras_diffkd.methods.method import DistillationMethod
from keras_diffkd.training.loss_weights import serialized
from keras_diffkd.validation.arguments import check_integer, check_weight


@keras.saving.register_keras_serializable(package="keras_diffkd")
class AFD(DistillationMethod):
    """Attention-based feature distillation over several taps.

    Each tapped feature gives a vector of width `d` and a value `v`. The vector is a
    query `q_i` of the teacher or a key `k_j` of the student: a dense layer and a batch
    normalization on the mean over space or time. The value is the mean of the squares
    over the channels, flattened and scaled to unit length; the student's is pooled to
    the teacher's grid first.

        a_ij = softmax_j((q_i · W k_j + p_i · p'_j) / sqrt(d))
        distill = Σ_ij a_ij mean((v_i - v_j)²), mean over the batch

    `W` and the position embeddings `p` and `p'`, one for each tap, are trained.

    Args:
        teacher_tap: List of layers of the teacher, of known sizes, which may differ:
            maps `(batch, height, width, channels)` and square grids of tokens
            `(batch, tokens, channels)`; or sequences `(batch, timesteps, channels)`;
            or maps of three dimensions `(batch, depth, height, width, channels)`.
        student_tap: List of layers of the student, of any number.
        key_dim: Integer `d`, width of queries and keys.
        weight: Float, `"balanced"` or schedule, weight of the loss in the total loss.
        feature_kind: `"auto"` (the tapped layers tell), `"tokens"` or `"sequence"`: the
            kind of features with three axes.
        name: String, prefix of the logs.

    Losses: `distill`.

    Raises:
        ValueError: If the taps are not lists of different layers, or a feature has an
            unknown size.

    Example:

    >>> method = AFD(["stage1", "features"], ["stage1", "features"], key_dim=8)
    >>> method.build(
    ...     [(None, 8, 8, 16), (None, 4, 4, 32)], [(None, 8, 8, 4), (None, 4, 4, 8)])
    >>> maps = [keras.ops.ones((2, 8, 8, 16)), keras.ops.ones((2, 4, 4, 32))]
    >>> losses = method.compute_losses(maps, [m[..., ::4] for m in maps])
    >>> sorted(losses)
    ['distill']

    Source: Show, Attend and Distill (Ji, Heo & Park, AAAI 2021,
    arXiv 2102.02973). One `W` for all pairs is our reading.
    """

    def __init__(
        self,
        teacher_tap,
        student_tap,
        *,
        key_dim=128,
        weight=1.0,
        feature_kind="auto",
        name="afd",
    ):
        super().__init__(teacher_tap, student_tap, name=name)
        check_several_taps(self)
        check_feature_kind(feature_kind)
        self.key_dim = check_integer("key_dim", key_dim, 1)
        check_weight("weight", weight, can_balance=True)
        self.weight = weight
        self.feature_kind = feature_kind

    def build(self, teacher_shape, student_shape):
        told = [
            kinds or [None] * len(shapes)
            for kinds, shapes in zip(
                self.tapped_kinds, (teacher_shape, student_shape), strict=True
            )
        ]
        self.teacher_kinds = self._kinds(teacher_shape, told[0], "teacher")
        self.student_kinds = self._kinds(student_shape, told[1], "student")
        for i, kind in enumerate(self.teacher_kinds):
            for j, other in enumerate(self.student_kinds):
                check_alike((kind, other), (teacher_shape[i], student_shape[j]))
        teachers = [
            _known_map(shape, kind, "teacher")
            for shape, kind in zip(teacher_shape, self.teacher_kinds, strict=True)
        ]
        students = [
            _known_map(shape, kind, "student")
            for shape, kind in zip(student_shape, self.student_kinds, strict=True)
        ]
        self.grids = [shape[:-1] for shape in teachers]
        self.queries = self._vectors(teachers, "query")
        self.keys = self._vectors(students, "key")
        self.bilinear = self.add_weight(
            shape=(self.key_dim, self.key_dim),
            initializer="glorot_uniform",
            name="bilinear",
        )
        self.teacher_positions = self.add_weight(
            shape=(len(teacher_shape), self.key_dim),
            initializer="glorot_normal",
            name="teacher_positions",
        )
        self.student_positions = self.add_weight(
            shape=(len(student_shape), self.key_dim),
            initializer="glorot_normal",
            name="student_positions",
        )
        self.built = True

    def _kinds(self, shapes, told, whose):
        return [
            single_kind(shape, kind, self.feature_kind, whose)
            for shape, kind in zip(shapes, told, strict=True)
        ]

    def _vectors(self, maps, name):
        """Returns `(dense layer, batch normalization)` for every feature."""
        layers = []
        for index, (*_, channels) in enumerate(maps):
            layers.append(
                [
                    dense(channels, self.key_dim, name=f"{name}_{index}"),
                    batch_normalization(name=f"{name}_bn_{index}"),
                ]
            )
            layers[-1][0].build((None, channels))
            layers[-1][1].build((None, self.key_dim))
        return layers

    def describe_bridge(self, teacher_shape, student_shape):
        pairs = f"{len(teacher_shape)} x {len(student_shape)}"
        return f"attention over {pairs} pairs, pooled to the teacher's grids"

    @property
    def loss_weights(self):
        return {"distill": self.weight}

    def compute_losses(
        self, teacher_features, student_features, targets=None, training=True
    ):
        teacher = [
            keras.ops.stop_gradient(as_map(x, kind, "teacher"))
            for x, kind in zip(teacher_features, self.teacher_kinds, strict=True)
        ]
        student = [
            as_map(x, kind, "student")
            for x, kind in zip(student_features, self.student_kinds, strict=True)
        ]
        scores = self._scores(teacher, student, training)
        weights = self._pair_weights(scores)
        loss = 0.0
        for i, grid in enumerate(self.grids):
            target = value(teacher[i], grid)
            for j in range(len(student)):
                gaps = keras.ops.square(value(student[j], grid) - target)
                loss += keras.ops.mean(weights[:, i, j] * keras.ops.mean(gaps, axis=-1))
        return {"distill": loss}

    def _scores(self, teacher, student, training):
        """Returns the attention before softmax, `(batch, teachers, students)`."""
        queries, keys = (
            keras.ops.stack(
                [
                    normalize(project(pooled(x)), training=training)
                    for x, (project, normalize) in zip(maps, layers, strict=True)
                ],
                axis=1,
            )
            for maps, layers in ((teacher, self.queries), (student, self.keys))
        )
        content = keras.ops.einsum("bid,de,bje->bij", queries, self.bilinear, keys)
        position = keras.ops.matmul(
            self.teacher_positions, keras.ops.transpose(self.student_positions)
        )
        return (content + position) / math.sqrt(self.key_dim)

    def _pair_weights(self, scores):
        """Returns the weight of every pair of features, of the shape of `scores`."""
        return keras.ops.softmax(scores, axis=-1)

    def get_config(self):
        return {
            **super().get_config(),
            "key_dim": self.key_dim,
            "weight": serialized(self.weight),
            "feature_kind": self.feature_kind,
        }


def value(feature_map, grid):
    """Returns a map of the feature's strength, as vectors of unit length.

    Args:
        feature_map: float32 tensor `(batch, ..., channels)`.
        grid: Tuple of the sizes to pool to, without batch and channels.

    Returns:
        float32 tensor `(batch, product of the grid)`.
    """
    energy = keras.ops.mean(keras.ops.square(feature_map), axis=-1, keepdims=True)
    grid = tuple(grid)
    if tuple(energy.shape[1:-1]) != grid:
        energy = keras.ops.adaptive_average_pool(
            energy, grid, data_format="channels_last"
        )
    flat = keras.ops.reshape(energy, (-1, math.prod(grid)))
    # Epsilon inside the root keeps the gradient of an all-zero feature finite.
    squares = keras.ops.sum(keras.ops.square(flat), axis=-1, keepdims=True)
    return flat * keras.ops.rsqrt(squares + 1e-12)


def _known_map(shape, kind, whose):
    known = map_shape(shape, kind, whose)
    if kind == "vector" or None in known:
        raise ValueError(
            f"The {whose}'s features must be maps (batch, height, width, channels), "
            "square tokens or sequences (batch, timesteps, channels), of known size. "
            f"Received: shape {tuple(shape)}. Tap another layer, or build the model "
            "with a fixed input size."
        )
    return known
