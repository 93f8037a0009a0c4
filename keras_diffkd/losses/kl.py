"""The distillation loss of Hinton et al."""

import math

import keras

from keras_diffkd.losses.counted import mean_of_counted, only_counted
from keras_diffkd.losses.inputs import logits_pair
from keras_diffkd.losses.standardization import standardized

# At this temperature and above, `τ²` makes float32's rounding visible.
HOT = 20.0
# Gaps of softened logits for which the series is exact in float32.
SMALL = 1.0


def kl_divergence(
    teacher_logits,
    student_logits,
    temperature=1.0,
    mask=None,
    standardize_logits=False,
):
    """Computes `τ² KL(softmax(teacher / τ) ‖ softmax(student / τ))`.

    Args:
        teacher_logits: Float tensor of shape `(batch, ..., classes)`.
        student_logits: Tensor of the same shape.
        temperature: Positive float `τ`.
        mask: Optional tensor of the shape of the logits without the classes: where it
            is 0 (`False`), the sample does not count.
        standardize_logits: Whether to give each row of logits mean 0 and standard
            deviation 1 before the softmax (LSKD). Needs three or more classes.

    Returns:
        float32 scalar, the sum over classes and mean over samples that count; 0 if no
        sample counts.

    Raises:
        ValueError: If the shapes differ, there are fewer than two classes, the
            temperature is not positive, or the mask has another size.

    Example:

    >>> round(float(kl_divergence([[5.0, 0, 0, 0]], [[0, 5.0, 0, 0]], 3.0)), 3)
    7.766

    Source: Distilling the Knowledge in a Neural Network (arXiv 1503.02531).
    """
    teacher, student = logits_pair(teacher_logits, student_logits, temperature)
    teacher, student, counted = only_counted(teacher, student, mask)
    if standardize_logits:
        teacher, student = standardized(teacher), standardized(student)
    log_teacher = keras.ops.log_softmax(teacher / temperature)
    log_student = keras.ops.log_softmax(student / temperature)
    probabilities = keras.ops.exp(log_teacher)
    divergence = keras.ops.sum(probabilities * (log_teacher - log_student), axis=-1)
    if temperature >= HOT:
        gap = (teacher - student) / temperature
        divergence = _of_small_gaps(probabilities, gap, divergence)
    return temperature**2 * mean_of_counted(divergence, counted)


def _of_small_gaps(probabilities, gap, otherwise):
    """Returns the divergence of samples with similar logits, without rounding.

    `KL = log E[exp(-c)] = log(1 + E[exp(-c) - 1 + c])`, with the expectation over the
    teacher's classes and `c` the gap of the logits less its expectation. The brackets
    are a series without cancellation.

    Args:
        probabilities: The teacher's, `(samples, classes)`.
        gap: Teacher's logits less the student's, divided by the temperature.
        otherwise: Divergences `(samples,)` for samples where the gaps are larger.
    """
    center = keras.ops.sum(probabilities * gap, axis=-1, keepdims=True)
    c = gap - center
    is_small = keras.ops.max(keras.ops.abs(c), axis=-1) < SMALL
    c = keras.ops.where(is_small[:, None], c, 0.0)
    series = 0.0
    for k in range(10, 1, -1):  # Of exp(-c) - 1 + c, divided by c squared.
        series = 1 / math.factorial(k) - c * series
    exact = keras.ops.log1p(keras.ops.sum(probabilities * c * c * series, axis=-1))
    return keras.ops.where(is_small, exact, otherwise)
