"""Bringing tapped features into one form: maps of pixels, channels last."""

import math

import keras

from keras_diffkd.arguments import check_choice


def map_shape(shape, whose):
    """Returns `(height, width, channels)` of a feature taken as a map.

    Args:
        shape: Shape tuple `(batch, height, width, channels)`,
            `(batch, tokens, channels)` with a square number of tokens, or
            `(batch, channels)`.
        whose: String for the error, `"teacher"` for example.

    Raises:
        ValueError: If the feature has another rank, unknown channels, or a
            number of tokens that is not a square.
    """
    shape = tuple(shape)
    if len(shape) not in (2, 3, 4) or shape[-1] is None:
        raise ValueError(
            f"The {whose}'s feature must be a map (batch, height, width, channels), "
            "tokens (batch, tokens, channels) or a vector (batch, channels) with a "
            f"known number of channels. Received: shape {shape}. Tap another layer."
        )
    if len(shape) == 4:
        return shape[1:]
    if len(shape) == 2:
        return (1, 1, shape[1])
    tokens = shape[1]
    side = math.isqrt(tokens or 0)
    if tokens is None or side * side != tokens:
        raise ValueError(
            f"The {whose}'s tokens must form a square grid: their number must be a "
            f"known square. Received: {tokens} tokens, shape {shape}. Tap a layer "
            "without class or register tokens."
        )
    return (side, side, shape[2])


def as_map(feature, whose):
    """Returns the feature as a float32 map `(batch, height, width, channels)`."""
    feature = keras.ops.cast(feature, "float32")
    if len(feature.shape) == 4:
        return feature
    return keras.ops.reshape(feature, (-1, *map_shape(feature.shape, whose)))


def from_map(feature_map, shape):
    """Returns a map in the form of a feature that `as_map` took.

    Args:
        feature_map: Tensor `(batch, height, width, channels)`.
        shape: Shape tuple of the feature: a map's, tokens' or a vector's.
    """
    if len(shape) == 4:
        return feature_map
    return keras.ops.reshape(feature_map, (-1, *shape[1:]))


def pooled_width(shape, whose):
    """Returns the number of channels of a feature that `pooled` takes.

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
    """Returns the float32 mean over space or tokens, `(batch, channels)`."""
    feature = keras.ops.cast(feature, "float32")
    between = tuple(range(1, len(feature.shape) - 1))
    return keras.ops.mean(feature, axis=between) if between else feature


def check_same_grid(teacher_map, student_map, resize):
    """Raises `ValueError` if the grids differ and no resizing was asked for.

    Args:
        teacher_map: `(height, width, channels)` of the teacher's feature.
        student_map: The same of the student.
        resize: `None` or the interpolation that will be used.
    """
    differ = any(
        t != s
        for t, s in zip(teacher_map[:2], student_map[:2], strict=True)
        if None not in (t, s)
    )
    if differ and resize is None:
        raise ValueError(
            "The teacher's and the student's feature maps differ in size: "
            f"{teacher_map[0]}x{teacher_map[1]} against "
            f"{student_map[0]}x{student_map[1]}. Tap layers of the same resolution, "
            'or pass `resize="bilinear"` to resize the student\'s map to the '
            "teacher's."
        )


def check_interpolation(resize):
    """Raises `ValueError` unless `resize` is an interpolation or `None`."""
    check_choice("resize", resize, (None, "nearest", "bilinear"))


def resize_to(feature_map, reference_map, resize):
    """Resizes a map to the grid of another one, unless they already agree."""
    height, width = keras.ops.shape(reference_map)[1:3]
    if resize is None or tuple(feature_map.shape[1:3]) == (height, width):
        return feature_map
    return keras.ops.image.resize(
        feature_map,
        (height, width),
        interpolation=resize,
        data_format="channels_last",
    )


def describe_projection(teacher_shape, student_shape, resize, channels=None):
    """Says what a projected student's feature has gone through.

    Args:
        teacher_shape: Shape tuple of the teacher's feature.
        student_shape: The same of the student.
        resize: `None` or the interpolation.
        channels: Integer, what is projected to; by default the teacher's channels.

    Example:

    >>> describe_projection((None, 4, 4, 16), (None, 8, 8, 8), "bilinear")
    '1x1 convolution 8 to 16, bilinear 8x8 to 4x4'
    """
    teacher_map = map_shape(teacher_shape, "teacher")
    student_map = map_shape(student_shape, "student")
    layer = "dense layer" if len(student_shape) == 2 else "1x1 convolution"
    text = f"{layer} {student_map[-1]} to {channels or teacher_map[-1]}"
    if resize is not None and teacher_map[:2] != student_map[:2]:
        grids = ["x".join(map(str, grid[:2])) for grid in (student_map, teacher_map)]
        text += f", {resize} {grids[0]} to {grids[1]}"
    return text


def check_single_taps(method):
    """Raises `ValueError` if a method of one feature was given several taps."""
    for side in ("teacher", "student"):
        tap = getattr(method, f"{side}_tap")
        if tap is not None and not isinstance(tap, str):
            raise ValueError(
                f"{type(method).__name__} compares one feature: `{side}_tap` must be "
                f"None or one layer name. Received: {tap!r}. Pass one method for "
                "each pair of layers."
            )


def check_several_taps(method):
    """Raises `ValueError` unless a method of several features was given lists."""
    for side in ("teacher", "student"):
        taps = getattr(method, f"{side}_tap")
        is_list = isinstance(taps, (list, tuple)) and len(taps) > 0
        if not is_list or len(set(taps)) < len(taps) or None in taps:
            raise ValueError(
                f"{type(method).__name__} compares several features: `{side}_tap` must "
                f"be a list of different layer names. Received: {taps!r}. Pass a list, "
                '["stage1", "features"] for example.'
            )
