"""Labels, and how likely a teacher's classifier finds them."""

import keras

from keras_diffkd.losses.inputs import check_one_target
from keras_diffkd.methods.feature_maps import from_map
from keras_diffkd.training import backend


def class_probabilities(targets, head, teacher_feature):
    """Returns labels as float32 probabilities of shape `(batch, classes)`.

    Args:
        targets: Integer labels `(batch,)` or `(batch, 1)`, one-hot or soft labels
            `(batch, classes)`, or `None` for the teacher's own decision. It also
            stands for a label below 0, which marks a sample without a label.
        head: The `TeacherHead`.
        teacher_feature: Tensor of the teacher's tap.

    Raises:
        ValueError: If the targets are anything else.
    """
    if targets is None:
        decision = _decision(head, teacher_feature)
        return keras.ops.one_hot(decision, head.classes, dtype="float32")
    check_one_target(targets)
    shape = tuple(getattr(targets, "shape", ()))
    if len(shape) == 2 and shape[1] == head.classes:
        return keras.ops.cast(targets, "float32")
    if len(shape) not in (1, 2) or shape[1:] not in ((), (1,)):
        received = f"shape {shape}" if shape else type(targets).__name__
        raise ValueError(
            "The targets must be class labels of shape (batch,), or probabilities of "
            f"shape (batch, {head.classes}). Received: {received}"
        )
    labels = keras.ops.cast(keras.ops.reshape(targets, (-1,)), "int32")
    labels = keras.ops.where(labels < 0, _decision(head, teacher_feature), labels)
    return keras.ops.one_hot(labels, head.classes, dtype="float32")


def _decision(head, teacher_feature):
    """Returns the class that the teacher decides on, int32 `(batch,)`."""
    logits = head(teacher_feature)
    return keras.ops.cast(keras.ops.argmax(logits, axis=-1), "int32")


def log_likelihood(logits, probabilities):
    """Returns `Σ_c p_c log softmax(logits)_c` of every sample, `(batch,)`.

    Args:
        logits: float32 tensor `(batch, classes)`.
        probabilities: float32 tensor of the same shape.
    """
    return keras.ops.sum(probabilities * keras.ops.log_softmax(logits), axis=-1)


def log_likelihood_gradient(head, teacher_feature, targets=None):
    """Returns the callable `x -> ∇_x log p(label | x)` of the teacher's head.

    Args:
        head: The `TeacherHead`.
        teacher_feature: Tensor of the teacher's tap: gives the form of the maps `x`
            and, without `targets`, the teacher's decision.
        targets: Class labels, as for `class_probabilities`.
    """
    labels = class_probabilities(targets, head, teacher_feature)

    def total(x):
        logits = head(from_map(x, teacher_feature.shape))
        return keras.ops.sum(log_likelihood(logits, labels))

    return lambda x: backend.gradient(total, x)
