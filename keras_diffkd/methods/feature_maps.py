"""Brings tapped features into one form: maps with their channels last."""

import math

import keras

from keras_diffkd.layers.torch_like import dense
from keras_diffkd.validation.arguments import check_choice


class FeatureMaps:
    """Brings the teacher's and the student's feature into the form of maps.

    Args:
        kinds: Pair of the kinds of the two features; see `kinds_of`.
        teacher_shape: Shape tuple of the teacher's feature, batch axis included.
        student_shape: The same of the student.
        resize: `None`, or the interpolation that brings the student's map to the
            teacher's grid.

    Attributes:
        teacher_shape: Shape tuple of the teacher's map, batch axis included.
        student_shape: The same of the student.
        is_vector: Whether the teacher's feature is a vector, a map of one pixel.

    Raises:
        ValueError: If a feature has no map, or the grids differ without `resize`.

    Example:

    >>> maps = FeatureMaps(
    ...     ("tokens", "map"), (None, 16, 12), (None, 8, 8, 6), "bilinear")
    >>> maps.teacher_shape, maps.student_shape
    ((None, 4, 4, 12), (None, 8, 8, 6))
    >>> maps.describe_projection()
    '1x1 convolution 6 to 12, bilinear 8x8 to 4x4'
    """

    def __init__(self, kinds, teacher_shape, student_shape, resize):
        self.kinds = kinds
        teacher_map = map_shape(teacher_shape, kinds[0], "teacher")
        student_map = map_shape(student_shape, kinds[1], "student")
        check_same_grid(teacher_map, student_map, resize)
        self.teacher_shape = (None, *teacher_map)
        self.student_shape = (None, *student_map)
        self.is_vector = kinds[0] == "vector"
        self.resize = resize

    def teacher(self, feature):
        """Returns the teacher's feature as a float32 map without a gradient."""
        return keras.ops.stop_gradient(as_map(feature, self.kinds[0], "teacher"))

    def student(self, feature):
        """Returns the student's feature as a float32 map."""
        return as_map(feature, self.kinds[1], "student")

    def projection(self, channels=None, *, name):
        """Returns a built 1x1 convolution for the student's map.

        Args:
            channels: Integer, its output channels; by default the teacher's.
            name: String, the layer's name.
        """
        width = self.student_shape[-1]
        layer = dense(width, channels or self.teacher_shape[-1], name=name)
        layer.build(self.student_shape)
        return layer

    def resized(self, student_map, teacher_map):
        """Returns the student's map on the teacher's grid."""
        return resize_to(student_map, teacher_map, self.resize)

    def resized_mask(self, student_mask, teacher_map):
        """Returns a mask like the student's map on the teacher's grid."""
        return resize_to(student_mask, teacher_map, self.resize and "nearest")

    def vectors(self, feature_map):
        """Returns maps of vectors as vectors, and other maps as they are."""
        return feature_map[:, 0, 0, :] if self.is_vector else feature_map

    def describe_projection(self, channels=None):
        """Describes how the student's feature is projected and resized.

        Args:
            channels: Integer, the channels after the projection; by default the
                teacher's.
        """
        layer = {
            "vector": "dense layer",
            "sequence": "dense layer for every timestep",
            "volume": "1x1x1 convolution",
        }.get(self.kinds[1], "1x1 convolution")
        *before, width = self.student_shape[1:]
        *after, teacher_width = self.teacher_shape[1:]
        text = f"{layer} {width} to {channels or teacher_width}"
        if self.resize is not None and before != after:
            text += f", {self.resize} {_sizes(before)} to {_sizes(after)}"
        return text


def map_shape(shape, kind, whose):
    """Returns the axes between batch and end, and the channels, of a feature as a map.

    Args:
        shape: Shape tuple of the feature, batch axis included, channels last.
        kind: String; see `features.kinds.kind_of`. A sequence is a map of one axis,
            tokens are one of two, and a vector is a map of one pixel.
        whose: String for the error, `"teacher"` for example.

    Returns:
        `(height, width, channels)`, `(timesteps, channels)` of a sequence, or
        `(depth, height, width, channels)` of a volume.

    Raises:
        ValueError: If the tokens do not form a square.
    """
    shape = tuple(shape)
    if kind == "vector":
        return (1, 1, shape[1])
    if kind != "tokens":
        return shape[1:]
    tokens = shape[1]
    side = math.isqrt(tokens or 0)
    if tokens is None or side * side != tokens:
        raise ValueError(
            f"The {whose}'s tokens must form a square grid: their number must be a "
            f"known square. Received: {tokens} tokens, shape {shape}. Tap a layer "
            "without class or register tokens."
        )
    return (side, side, shape[2])


def as_map(feature, kind, whose):
    """Returns a float32 feature as the map of `map_shape`."""
    feature = keras.ops.cast(feature, "float32")
    if kind not in ("vector", "tokens"):
        return feature
    return keras.ops.reshape(feature, (-1, *map_shape(feature.shape, kind, whose)))


def from_map(feature_map, shape):
    """Returns a map in the form of a feature: undoes `as_map`.

    Args:
        feature_map: float32 tensor.
        shape: Shape tuple of the feature.
    """
    if len(shape) == len(feature_map.shape):
        return feature_map
    return keras.ops.reshape(feature_map, (-1, *shape[1:]))


def pooled_width(shape, whose):
    """Returns the number of channels of a feature before `pooled`.

    Args:
        shape: Shape tuple `(batch, ..., channels)`.
        whose: String for the error, `"teacher"` for example.

    Raises:
        ValueError: If the feature has no channels, or an unknown number.
    """
    shape = tuple(shape)
    if len(shape) < 2 or shape[-1] is None:
        raise ValueError(
            f"The {whose}'s feature must be (batch, ..., channels) with a known number "
            f"of channels. Received: shape {shape}. Tap another layer."
        )
    return shape[-1]


def pooled(feature):
    """Returns the float32 mean over space, time or tokens, `(batch, channels)`."""
    feature = keras.ops.cast(feature, "float32")
    between = tuple(range(1, len(feature.shape) - 1))
    return keras.ops.mean(feature, axis=between) if between else feature


def check_same_grid(teacher_map, student_map, resize):
    """Raises `ValueError` if the grids differ without `resize`.

    Args:
        teacher_map: Shape tuple of the teacher's map, without the batch axis.
        student_map: The same of the student, of as many axes.
        resize: `None` or the interpolation.
    """
    grids = teacher_map[:-1], student_map[:-1]
    differ = any(t != s for t, s in zip(*grids, strict=True) if None not in (t, s))
    if differ and (resize is None or len(grids[0]) == 3):
        how = "sequences differ in length" if len(grids[0]) == 1 else "maps differ"
        raise ValueError(
            f"The teacher's and the student's feature {how}: "
            f"{_sizes(grids[0])} against {_sizes(grids[1])}. Tap layers of the same "
            + (
                "resolution."
                if len(grids[0]) == 3
                else 'resolution, or pass `resize="bilinear"` to resize the '
                "student's feature to the teacher's."
            )
        )


def check_interpolation(resize):
    """Raises `ValueError` unless `resize` is an interpolation or `None`."""
    check_choice("resize", resize, (None, "nearest", "bilinear"))


def resize_to(feature_map, reference_map, resize):
    """Resizes a map or a sequence to the grid of another."""
    if resize is None or len(feature_map.shape) == 5:
        return feature_map
    if len(feature_map.shape) == 3:  # A map of width 1.
        resized = resize_to(feature_map[:, :, None], reference_map[:, :, None], resize)
        return resized[:, :, 0]
    height, width = keras.ops.shape(reference_map)[1:3]
    if tuple(feature_map.shape[1:3]) == (height, width):
        return feature_map
    return keras.ops.image.resize(
        feature_map,
        (height, width),
        interpolation=resize,
        data_format="channels_last",
    )


def _sizes(grid):
    return "x".join("?" if size is None else str(size) for size in grid)


def check_single_taps(method):
    """Raises `ValueError` if a method of one feature has several taps."""
    for side in ("teacher", "student"):
        tap = getattr(method, f"{side}_tap")
        if tap is not None and not isinstance(tap, str):
            raise ValueError(
                f"{type(method).__name__} compares one feature: `{side}_tap` must be "
                f"None or one layer name. Received: {tap!r}. Pass one method for "
                "each pair of layers."
            )


def check_several_taps(method):
    """Raises `ValueError` unless a method of several features has lists of taps."""
    for side in ("teacher", "student"):
        taps = getattr(method, f"{side}_tap")
        is_list = isinstance(taps, (list, tuple)) and len(taps) > 0
        if not is_list or len(set(taps)) < len(taps) or None in taps:
            raise ValueError(
                f"{type(method).__name__} compares several features: `{side}_tap` must "
                f"be a list of different layer names. Received: {taps!r}. Pass a list, "
                '["stage1", "features"] for example.'
            )
