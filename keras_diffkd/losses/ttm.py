"""The losses of TTM and WTTM: a temperature on the teacher alone."""

import keras

from keras_diffkd.losses.counted import mean_of_counted, only_counted
from keras_diffkd.losses.inputs import logits_pair


def ttm(teacher_logits, student_logits, temperature=4.0, weighted=False, mask=None):
    """Computes `KL(q ‖ softmax(student))`, where `q = softmax(teacher / τ)`.

    With the teacher's probabilities `p`, `q = p^γ / U` with `γ = 1 / τ` and
    `U = Σ p^γ`. WTTM multiplies the loss of each sample by `U`, which is 1 for a
    certain teacher and grows with its doubts, up to `classes^(1 - γ)`.

    Args:
        teacher_logits: Float tensor of shape `(batch, ..., classes)`.
        student_logits: Tensor of the same shape.
        temperature: Positive float `τ`. With 1, the loss is the KL divergence of the
            probabilities, and `U` is 1.
        weighted: Whether to weigh the samples (WTTM).
        mask: Optional tensor of the shape of the logits without the classes: where it
            is 0 (`False`), the sample does not count.

    Returns:
        float32 scalar, the sum over classes and mean over samples that count; 0 if no
        sample counts.

    Raises:
        ValueError: If the shapes differ, there are fewer than two classes, the
            temperature is not positive, or the mask has another size.

    Example:

    >>> teacher = keras.ops.array([[20.0, 0.0, 0.0, 0.0]])
    >>> abs(float(ttm(teacher, teacher / 4))) < 1e-6
    True

    Source: Knowledge Distillation Based on Transformed Teacher Matching (ICLR 2024,
    arXiv 2402.11148) and the authors' code.
    """
    teacher, student = logits_pair(teacher_logits, student_logits, temperature)
    teacher, student, counted = only_counted(teacher, student, mask)
    log_teacher = keras.ops.log_softmax(teacher / temperature)
    gap = log_teacher - keras.ops.log_softmax(student)
    divergence = keras.ops.sum(keras.ops.exp(log_teacher) * gap, axis=-1)
    if weighted:
        powers = keras.ops.log_softmax(teacher) / temperature
        divergence *= keras.ops.exp(keras.ops.logsumexp(powers, axis=-1))
    return mean_of_counted(divergence, counted)
