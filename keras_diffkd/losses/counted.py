"""Leaves samples out of a loss: ignored labels and padding."""

import keras


def only_counted(teacher, student, mask):
    """Returns both logits with zeros outside the mask, and the weights of the samples.

    Values outside the mask may not be finite, and 0 times infinity is not 0.

    Args:
        teacher: float32 tensor `(samples, classes)`.
        student: Tensor of the same shape.
        mask: Tensor with one entry per sample, of any shape, or `None`.

    Returns:
        `(teacher, student, counted)`: `counted` is a float32 tensor `(samples,)` of
        ones and zeros, or `None` if all samples count.

    Raises:
        ValueError: If the mask has another number of entries.
    """
    if mask is None:
        return teacher, student, None
    mask = keras.ops.cast(keras.ops.reshape(mask, (-1,)), "bool")
    if None not in (mask.shape[0], teacher.shape[0]) and (
        mask.shape[0] != teacher.shape[0]
    ):
        raise ValueError(
            "`mask` must have one entry for every sample (pixel, timestep). Received: "
            f"{mask.shape[0]} entries for {teacher.shape[0]} samples"
        )
    teacher, student = (
        keras.ops.where(mask[:, None], logits, 0.0) for logits in (teacher, student)
    )
    return teacher, student, keras.ops.cast(mask, "float32")


def mean_of_counted(values, counted, axis=None, keepdims=False):
    """Returns the mean of the values that count; 0 if none does.

    Args:
        values: float32 tensor.
        counted: Weights from `only_counted`, of a shape that broadcasts to that of
            `values` and has its size along `axis`.
        axis: Integer, or `None` for all axes.
        keepdims: Whether to keep the axis, with size 1.
    """
    if counted is None:
        return keras.ops.mean(values, axis=axis, keepdims=keepdims)
    total = keras.ops.sum(counted * values, axis=axis, keepdims=keepdims)
    return total / keras.ops.maximum(keras.ops.sum(counted), 1.0)
