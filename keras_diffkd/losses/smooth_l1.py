"""The smooth L1 (Huber) loss between features."""

import keras

from keras_diffkd.losses.inputs import float32_pair


def smooth_l1(teacher, student, beta=1.0):
    """Computes the mean of `d² / (2 β)` for `d < β`, and of `d - β / 2` for larger `d`.

    `d = |student - teacher|`.

    Args:
        teacher: Float tensor of any shape, the target.
        student: Float tensor of the same shape.
        beta: Positive float, the distance at which the square turns into a line.

    Returns:
        float32 scalar.

    Raises:
        ValueError: If the shapes differ or `beta` is not positive.

    Example:

    >>> float(smooth_l1([[0.0, 0.0]], [[1.0, 3.0]]))
    1.5

    Source: Fast R-CNN (arXiv 1504.08083, eq. 3), here with `β`.
    """
    if not beta > 0:
        raise ValueError(f"`beta` must be positive. Received: beta={beta}")
    teacher, student = float32_pair(teacher, student)
    distance = keras.ops.abs(student - teacher)
    return keras.ops.mean(
        keras.ops.where(
            distance < beta,
            keras.ops.square(distance) / (2.0 * beta),
            distance - 0.5 * beta,
        )
    )
