"""Checks and converts the inputs of the losses."""

import keras


def float32_pair(teacher, student):
    """Returns both tensors in float32, or raises if their shapes differ."""
    teacher = keras.ops.cast(teacher, "float32")
    student = keras.ops.cast(student, "float32")
    same_rank = len(teacher.shape) == len(student.shape)
    if not same_rank or any(
        t != s
        for t, s in zip(teacher.shape, student.shape, strict=True)
        if None not in (t, s)
    ):
        raise ValueError(
            "The teacher's and the student's tensors must have the same shape. "
            f"Received: teacher {tuple(teacher.shape)}, "
            f"student {tuple(student.shape)}"
        )
    return teacher, student


def logits_pair(teacher_logits, student_logits, temperature):
    """Returns both logits in float32 as `(samples, classes)`.

    In logits of more than two dimensions, such as a segmenter's, each pixel is a
    sample.
    """
    if not temperature > 0:
        raise ValueError(
            f"`temperature` must be positive. Received: temperature={temperature}"
        )
    teacher, student = float32_pair(teacher_logits, student_logits)
    classes = teacher.shape[-1]
    if len(teacher.shape) < 2 or classes < 2:
        raise ValueError(
            "Logits must have the shape (batch, ..., classes) with at least two "
            f"classes. Received: {tuple(teacher.shape)}. For one logit of a binary "
            "classifier, stack [0, logit]."
        )
    if len(teacher.shape) > 2:
        teacher = keras.ops.reshape(teacher, (-1, classes))
        student = keras.ops.reshape(student, (-1, classes))
    return teacher, student


def check_one_target(labels):
    """Raises `ValueError` for the targets of several outputs."""
    if keras.tree.is_nested(labels):
        received = sorted(labels) if isinstance(labels, dict) else len(labels)
        raise ValueError(
            "Labels must be one tensor: it is unknown which of several targets belong "
            f"to the features that are compared. Received: targets {received}. "
            'Compare an output of the student (`student_tap=":name"`, or its layer), '
            "choose a method or distance without labels, or set the guidance of DSKD "
            "or KDiffusion to 0."
        )
