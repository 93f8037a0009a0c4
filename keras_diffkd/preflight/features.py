"""Lists the features that the methods compare and the layers that connect them."""

from keras_diffkd.methods.pyramid import level_pairs

COLUMNS = (
    "method",
    "teacher's tap",
    "shape",
    "student's tap",
    "shape",
    "bridged by",
)


def feature_rows(distiller):
    """Lists the pairs of features that the methods of a distiller compare.

    Args:
        distiller: A `Distiller`.

    Returns:
        List of tuples of strings, one for each pair of features. `COLUMNS` names the
        columns.

    Example:

    >>> def network(width):
    ...     return keras.Sequential(
    ...         [keras.Input((4,)), keras.layers.Dense(width, name="features")])
    >>> distiller = Distiller(network(8), network(2), [FitNet("features", "features")])
    >>> feature_rows(distiller)
    [('fitnet', 'features', '8', 'features', '2', 'dense layer 2 to 8')]
    """
    rows = []
    for method, shapes in zip(distiller.methods, distiller.feature_shapes, strict=True):
        pairs = {"": shapes}
        if method.levels:
            pairs = level_pairs(method.name, *shapes)
        for level, (teacher, student) in pairs.items():
            compares = method.levels.get(level, method)
            rows.append(
                (
                    method.name,
                    _tap(method.teacher_tap, level),
                    _shape(teacher),
                    _tap(method.student_tap, level),
                    _shape(student),
                    compares.describe_bridge(teacher, student),
                )
            )
    return rows


def _tap(tap, level):
    if level.startswith("level_") and isinstance(tap, (list, tuple)):
        return tap[int(level.removeprefix("level_"))]
    if isinstance(tap, (list, tuple)):
        return ", ".join(tap)
    text = tap or "(output)"
    return f"{text}:{level}" if level else text


def _shape(shape):
    if isinstance(shape, list) and any(isinstance(each, tuple) for each in shape):
        # The branches of a convolution have the same shape.
        return ", ".join(dict.fromkeys(map(_shape, shape)))
    return "x".join("?" if size is None else str(size) for size in shape[1:])
