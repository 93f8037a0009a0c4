"""The loss of DIST: compares correlations instead of values."""

import keras

from keras_diffkd.losses.counted import mean_of_counted, only_counted
from keras_diffkd.losses.inputs import logits_pair
from keras_diffkd.losses.standardization import standardized


def dist(
    teacher_logits,
    student_logits,
    beta=1.0,
    gamma=1.0,
    temperature=1.0,
    mask=None,
    standardize_logits=False,
):
    """Computes `τ² (β (1 - inter-class) + γ (1 - intra-class correlation))`.

    Both are Pearson correlations of the softened probabilities: over the classes of a
    sample, averaged over the batch, and over the batch for a class, averaged over the
    classes.

    Args:
        teacher_logits: Float tensor of shape `(batch, ..., classes)`.
        student_logits: Tensor of the same shape.
        beta: Float, weight of the correlation over classes.
        gamma: Float, weight of the correlation over the batch.
        temperature: Positive float `τ`.
        mask: Optional tensor of the shape of the logits without the classes: where it
            is 0 (`False`), the sample does not count.
        standardize_logits: Whether to give each row of logits mean 0 and standard
            deviation 1 before the softmax (LSKD). Needs three or more classes.

    Returns:
        float32 scalar; 0 if no sample counts.

    Raises:
        ValueError: If the shapes differ, there are fewer than two classes, the
            temperature is not positive, or the mask has another size.

    Example:

    >>> logits = keras.ops.array([[2.0, 0.0, 1.0], [0.0, 3.0, 1.0]])
    >>> abs(float(dist(logits, logits))) < 1e-5
    True

    Source: Knowledge Distillation from A Stronger Teacher
    (arXiv 2205.10536, eq. 8 to 10).
    """
    teacher, student = logits_pair(teacher_logits, student_logits, temperature)
    teacher, student, counted = only_counted(teacher, student, mask)
    if standardize_logits:
        teacher, student = standardized(teacher), standardized(student)
    teacher = keras.ops.softmax(teacher / temperature)
    student = keras.ops.softmax(student / temperature)
    inter_class = mean_of_counted(1.0 - pearson(teacher, student, axis=1), counted)
    if counted is None:
        intra_class = 1.0 - keras.ops.mean(pearson(teacher, student, axis=0))
    else:
        column = counted[:, None]
        within = pearson(teacher, student, axis=0, counted=column)
        # Without samples there is nothing to learn, though nothing correlates.
        intra_class = keras.ops.max(counted) * (1.0 - keras.ops.mean(within))
    return temperature**2 * (beta * inter_class + gamma * intra_class)


def pearson(x, y, axis, epsilon=1e-8, counted=None):
    """Returns the Pearson correlation of `x` and `y` along `axis`.

    Args:
        x: float32 tensor of two dimensions.
        y: Tensor of the same shape.
        axis: Integer.
        epsilon: Float.
        counted: Ones and zeros along the axis, or `None` if all values count.
    """
    x = x - mean_of_counted(x, counted, axis=axis, keepdims=True)
    y = y - mean_of_counted(y, counted, axis=axis, keepdims=True)
    if counted is not None:
        x, y = counted * x, counted * y
    covariance = keras.ops.sum(x * y, axis=axis)
    variances = keras.ops.sum(x * x, axis=axis) * keras.ops.sum(y * y, axis=axis)
    # Epsilon inside the root keeps the gradient finite for a constant column, such as
    # the batch axis of a batch of one sample.
    return covariance / keras.ops.sqrt(variances + epsilon**2)
