"""Checks integer labels."""


def check_labels(labels, classes):
    """Raises `ValueError` if labels lie outside the classes.

    Args:
        labels: Array or eager tensor of integers.
        classes: Number of classes, or `None` to skip the check.
    """
    if classes is None or 0 in labels.shape:
        return
    if labels.min() < 0 or labels.max() >= classes:
        received = f"{int(labels.min())} to {int(labels.max())}"
        raise ValueError(labels_message(classes, received))


def labels_message(classes, received):
    """Returns the error text for labels outside the classes."""
    return (
        f"Labels must lie in 0 to {classes - 1}: the student has {classes} classes. "
        f"Received: labels from {received}. Check the data set or the student's "
        "number of classes."
    )
