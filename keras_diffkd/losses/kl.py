"""The distillation loss of Hinton et al."""

import keras

from keras_diffkd.losses.inputs import logits_pair


def kl_divergence(teacher_logits, student_logits, temperature=1.0):
    """`τ² KL(softmax(teacher / τ) ‖ softmax(student / τ))`, mean over samples.

    Args:
        teacher_logits: Float tensor of shape `(batch, ..., classes)`.
        student_logits: Tensor of the same shape.
        temperature: Positive float `τ`.

    Returns:
        float32 scalar, summed over classes and averaged over everything else.

    Raises:
        ValueError: If the shapes differ, there are fewer than two classes, or
            the temperature is not positive.

    Example:

    >>> round(float(kl_divergence([[5.0, 0, 0, 0]], [[0, 5.0, 0, 0]], 3.0)), 3)
    7.766

    Source: Distilling the Knowledge in a Neural Network (arXiv 1503.02531).
    """
    teacher, student = logits_pair(teacher_logits, student_logits, temperature)
    log_teacher = keras.ops.log_softmax(teacher / temperature)
    log_student = keras.ops.log_softmax(student / temperature)
    divergence = keras.ops.sum(
        keras.ops.exp(log_teacher) * (log_teacher - log_student), axis=-1
    )
    return temperature**2 * keras.ops.mean(divergence)
