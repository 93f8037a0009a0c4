"""The loss on locality-sensitive hashes."""

import keras

from keras_diffkd.losses.inputs import float32_pair


def lsh(teacher_values, student_values):
    """Computes the cross-entropy of the student's hash values and the teacher's bits.

    Hash values are a feature's signed distances from hyperplanes, `W f + b`. The bits
    are `W f_t + b > 0` and the logits `W f_s + b`, so the student learns the direction
    of the feature more than its length.

    Args:
        teacher_values: Float tensor of shape `(batch, hashes)`. No gradient
            flows into it.
        student_values: Tensor of the same shape.

    Returns:
        float32 scalar, the mean over samples and hashes.

    Raises:
        ValueError: If the shapes differ.

    Example:

    >>> round(float(lsh([[2.0, -3.0]], [[0.0, 0.0]])), 4)
    0.6931

    Source: Distilling Knowledge by Mimicking Features (arXiv 2011.01424).
    """
    teacher_values, student_values = float32_pair(teacher_values, student_values)
    bits = keras.ops.cast(teacher_values > 0, "float32")
    return keras.ops.mean(
        keras.ops.binary_crossentropy(bits, student_values, from_logits=True)
    )
