"""Labels the axes of tensors with channels.

The labels of a tensor are an integer array of the tensor's rank. At most one axis has
the tensor's length: the atoms of `Channels` along it. The other axes have length 1,
because no channel leaves along them.
"""

import numpy as np


def fixed_labels(channels, rank, reason):
    """Returns labels of a tensor that keeps all its channels."""
    return np.full((1,) * rank, channels.fixed(reason))


def axis_of(labels):
    """Returns the labeled axis, or `None` if all axes are the same everywhere.

    Example:

    >>> axis_of(on_axis(np.arange(8), -1, 4))
    3
    """
    longer = [axis for axis, size in enumerate(labels.shape) if size > 1]
    return longer[0] if longer else None


def on_axis(atoms, axis, rank):
    """Returns labels with these atoms along one axis."""
    shape = [1] * rank
    shape[axis] = len(atoms)
    return np.reshape(atoms, shape)


def along(labels, axis, shape):
    """Returns the atoms along an axis, or `None` if another axis is labeled.

    Args:
        labels: Labels of a tensor.
        axis: Integer.
        shape: Shape of the tensor; the axis must have a known length.
    """
    axis %= labels.ndim
    if axis_of(labels) not in (None, axis):
        return None
    return np.broadcast_to(labels.reshape(-1), (shape[axis],))


def compressed(labels, channels):
    """Returns labels in which each axis that is the same everywhere has length 1.

    If several axes are left, it unites the channels along all of them but the last, so
    that one row of channels is left, as in each group of a grouped convolution.
    """
    labels = channels.roots(labels)
    for axis in range(labels.ndim):
        first = labels.take([0], axis)
        if np.array_equal(np.broadcast_to(first, labels.shape), labels):
            labels = first
    longer = [axis for axis, size in enumerate(labels.shape) if size > 1]
    for axis in longer[:-1]:
        first = labels.take([0], axis)
        channels.unite(labels, first)
        labels = first
    return channels.roots(labels)
