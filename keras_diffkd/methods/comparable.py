"""Finds the kinds of two features, and checks that they can be compared."""

from keras_diffkd.features.kinds import KINDS_BY_RANK
from keras_diffkd.validation.arguments import check_choice

# Values of the argument `feature_kind`.
FEATURE_KINDS = ("auto", "tokens", "sequence")
NAMES = {
    "vector": "vector (batch, channels)",
    "map": "map (batch, height, width, channels)",
    "tokens": "square grid of tokens (batch, tokens, channels)",
    "sequence": "sequence (batch, timesteps, channels)",
    "volume": "map of three dimensions (batch, depth, height, width, channels)",
}


def check_feature_kind(feature_kind):
    """Raises `ValueError` unless `feature_kind` is one of `FEATURE_KINDS`."""
    check_choice("feature_kind", feature_kind, FEATURE_KINDS)


def kinds_of(method, teacher_shape, student_shape):
    """Returns the kinds of the teacher's and the student's feature.

    Args:
        method: `DistillationMethod` with a `feature_kind`.
        teacher_shape: Shape tuple of the teacher's feature, batch axis included.
        student_shape: The same of the student.

    Raises:
        ValueError: If the kind of a feature with three axes is unknown, or the two
            cannot be compared.
    """
    told = method.tapped_kinds
    kinds = tuple(
        single_kind(shape, kind, method.feature_kind, whose)
        for shape, kind, whose in (
            (teacher_shape, told[0], "teacher"),
            (student_shape, told[1], "student"),
        )
    )
    check_alike(kinds, (teacher_shape, student_shape))
    return kinds


def single_kind(shape, told, feature_kind, whose):
    """Returns the kind of one feature; see `kinds_of`.

    Args:
        shape: Shape tuple of the feature.
        told: The kind that the tapped layers tell, or `None`.
        feature_kind: The method's argument.
        whose: String for the error, `"teacher"` for example.
    """
    shape = tuple(shape)
    if len(shape) not in (2, 3, 4, 5) or shape[-1] is None:
        raise ValueError(
            f"The {whose}'s feature must be a {NAMES['map']}, a {NAMES['sequence']}, a "
            f"{NAMES['tokens']}, a {NAMES['vector']} or a {NAMES['volume']}, with a "
            f"known number of channels. Received: shape {shape}. Tap another layer."
        )
    if len(shape) != 3:
        return KINDS_BY_RANK[len(shape)]
    if feature_kind != "auto":
        return feature_kind
    if told == "rectangle":
        raise ValueError(
            f"The {whose}'s tokens {shape} come from a map that is not square, and "
            "their grid is unknown. Put a keras.layers.Reshape((height, width, "
            "channels)) after the tapped layer, and tap that one."
        )
    if told is None:
        raise ValueError(
            f"The {whose}'s feature of shape {shape} is a sequence (batch, timesteps, "
            "channels) or a grid of tokens (batch, tokens, channels): the layers "
            'before the tap do not tell. Pass feature_kind="sequence" or '
            'feature_kind="tokens" to the method.'
        )
    return told


def check_alike(kinds, shapes):
    """Raises `ValueError` unless the features lie on grids of the same kind.

    Args:
        kinds: Pair of the kinds of the teacher's and the student's feature.
        shapes: Pair of their shape tuples.
    """
    alone = {"sequence", "volume"}
    if kinds[0] != kinds[1] and alone & set(kinds):
        raise ValueError(
            f"The teacher's feature is a {NAMES[kinds[0]]} and the student's a "
            f"{NAMES[kinds[1]]}, which have no positions in common. Received: shapes "
            f"{tuple(shapes[0])} and {tuple(shapes[1])}. Tap layers of the same kind, "
            "or use VkD, which compares means over all positions. If the kind of a "
            "feature with three axes is wrong, pass `feature_kind`."
        )
