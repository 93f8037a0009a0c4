"""The loss of DKD: weighs the target class and the other classes apart."""

import keras

from keras_diffkd.losses.counted import mean_of_counted, only_counted
from keras_diffkd.losses.inputs import check_one_target, logits_pair
from keras_diffkd.losses.standardization import standardized


def dkd(
    teacher_logits,
    student_logits,
    labels,
    alpha=1.0,
    beta=8.0,
    temperature=4.0,
    mask=None,
    standardize_logits=False,
):
    """Computes `τ² (α TCKD + β NCKD)`, the mean over samples.

    TCKD is the KL divergence of two probabilities: the target class and all others.
    NCKD is the KL divergence of the softmaxes over the other classes alone.

    Args:
        teacher_logits: Float tensor of shape `(batch, ..., classes)`.
        student_logits: Tensor of the same shape.
        labels: Integer tensor of shape `(batch, ...)`, or one-hot of the shape
            of the logits (the largest entry counts).
        alpha: Float, weight of the target-class part.
        beta: Float, weight of the non-target part.
        temperature: Positive float `τ`.
        mask: Optional tensor of the shape of the logits without the classes: where it
            is 0 (`False`), the sample does not count, and its label may be any number.
        standardize_logits: Whether to give each row of logits mean 0 and standard
            deviation 1 before the softmax (LSKD). Needs three or more classes.

    Returns:
        float32 scalar; 0 if no sample counts.

    Raises:
        ValueError: If the shapes differ, there are fewer than two classes, the
            labels are missing, the temperature is not positive, or the mask has
            another size.

    Example:

    >>> teacher = keras.ops.array([[2.0, 0.0, 1.0]])
    >>> abs(float(dkd(teacher, teacher, keras.ops.array([0])))) < 1e-5
    True

    Source: Decoupled Knowledge Distillation (arXiv 2203.08679, eq. 7).
    """
    if labels is None:
        raise ValueError(
            "`dkd` needs the class labels. Received: labels=None. Train on a data "
            "set that yields (inputs, labels), or use another distance."
        )
    check_one_target(labels)
    rank = len(teacher_logits.shape)
    teacher, student = logits_pair(teacher_logits, student_logits, temperature)
    labels = keras.ops.convert_to_tensor(labels)
    if len(labels.shape) == rank and labels.shape[-1] == teacher.shape[-1]:
        labels = keras.ops.argmax(labels, axis=-1)
    labels = keras.ops.reshape(labels, (-1,))
    if None not in (labels.shape[0], teacher.shape[0]) and (
        labels.shape[0] != teacher.shape[0]
    ):
        raise ValueError(
            "There must be one label for every sample. Received: "
            f"{labels.shape[0]} labels for {teacher.shape[0]} samples"
        )
    teacher, student, counted = only_counted(teacher, student, mask)
    if standardize_logits:
        teacher, student = standardized(teacher), standardized(student)
    if counted is not None:
        labels = keras.ops.where(counted > 0, labels, keras.ops.zeros_like(labels))
    target = keras.ops.one_hot(labels, teacher.shape[-1], dtype="float32")

    target_part = binary_divergence(teacher, student, target, temperature)
    other_part = non_target_divergence(teacher, student, target, temperature)
    parts = alpha * target_part + beta * other_part
    return temperature**2 * mean_of_counted(parts, counted)


def binary_divergence(teacher, student, target, temperature):
    """Returns KL over (target class, the rest), one value per sample."""
    log_t, log_t_rest = binary_log_probabilities(teacher / temperature, target)
    log_s, log_s_rest = binary_log_probabilities(student / temperature, target)
    return keras.ops.exp(log_t) * (log_t - log_s) + keras.ops.exp(log_t_rest) * (
        log_t_rest - log_s_rest
    )


def binary_log_probabilities(logits, target):
    """Returns the log-probabilities of the target class and of all others."""
    target_logit = keras.ops.sum(logits * target, axis=-1)
    rest = keras.ops.logsumexp(mask_target(logits, target), axis=-1)
    # log sigmoid of the margin: exact where 1 - softmax would cancel to zero.
    return (
        keras.ops.log_sigmoid(target_logit - rest),
        keras.ops.log_sigmoid(rest - target_logit),
    )


def non_target_divergence(teacher, student, target, temperature):
    """Returns KL of the softmaxes over the non-target classes, per sample."""
    log_t = keras.ops.log_softmax(mask_target(teacher / temperature, target))
    log_s = keras.ops.log_softmax(mask_target(student / temperature, target))
    others = 1.0 - target
    return keras.ops.sum(others * keras.ops.exp(log_t) * (log_t - log_s), axis=-1)


def mask_target(logits, target):
    """Returns the logits with the target class far below all others."""
    # Without a gradient, which would be 0: XLA may compute the logits twice, with other
    # roundings, and then find no minimum among them to give the gradient to.
    lowest = keras.ops.stop_gradient(keras.ops.min(logits, axis=-1, keepdims=True))
    return keras.ops.where(target > 0, lowest - 1e4, logits)
