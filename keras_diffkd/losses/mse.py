"""Mean squared error between features."""

import keras

from keras_diffkd.losses.inputs import float32_pair


def mean_squared_error(teacher, student):
    """Computes the mean of the squared difference over all elements.

    Args:
        teacher: Float tensor of any shape, the target.
        student: Float tensor of the same shape.

    Returns:
        float32 scalar.

    Raises:
        ValueError: If the shapes differ.

    Example:

    >>> float(mean_squared_error([[1.0, 3.0]], [[1.0, 1.0]]))
    2.0

    Source: FitNets (arXiv 1412.6550, eq. 3).
    """
    teacher, student = float32_pair(teacher, student)
    return keras.ops.mean(keras.ops.square(student - teacher))
