"""Standardizes logits: their order and proportions count, and their scale does not."""

import keras

# Added to the standard deviation, as in the authors' code.
EPSILON = 1e-7


def standardized(logits):
    """Returns every row with mean 0 and standard deviation 1 over the classes.

    A row of equal logits has no scale: it becomes zeros, and gets no gradient.

    Args:
        logits: float32 tensor `(samples, classes)`.

    Raises:
        ValueError: If there are fewer than three classes.

    Example:

    >>> rows = standardized(keras.ops.array([[1.0, 2.0, 3.0], [5.0, 5.0, 5.0]]))
    >>> keras.ops.convert_to_numpy(rows).round(3).tolist()
    [[-1.0, 0.0, 1.0], [0.0, 0.0, 0.0]]

    Source: Logit Standardization in Knowledge Distillation (CVPR 2024,
    arXiv 2403.01427) and the authors' code: the deviation of a sample, and epsilon
    outside the root.
    """
    check_standardizable(logits.shape[-1])
    # Exact zeros for equal logits of any size.
    highest = keras.ops.stop_gradient(keras.ops.max(logits, axis=-1, keepdims=True))
    logits = logits - highest
    centered = logits - keras.ops.mean(logits, axis=-1, keepdims=True)
    squares = keras.ops.sum(keras.ops.square(centered), axis=-1, keepdims=True)
    variance = squares / (logits.shape[-1] - 1)
    varies = variance > 0
    # The root has no gradient at 0, and 1e7 times a gradient is the end of a training.
    deviation = keras.ops.sqrt(keras.ops.where(varies, variance, 1.0))
    return keras.ops.where(varies, centered / (deviation + EPSILON), 0.0)


def check_standardizable(classes):
    """Raises `ValueError` if there are too few classes to standardize logits."""
    if classes < 3:
        raise ValueError(
            "`standardize_logits=True` needs at least three classes: of two "
            "standardized logits only the order is left, which has no gradient. "
            f"Received: {classes} classes. Pass standardize_logits=False."
        )
