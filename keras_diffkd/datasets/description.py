"""Says what a data set is, and how much memory its images take."""

from keras_diffkd.datasets.stream import buffer_size


def describe(source, counts, size, batch_size, unlabeled=0):
    """Returns a text of a few lines for the user.

    Args:
        source: Source of a task.
        counts: `(training, test)`: the numbers of examples.
        size: `(height, width)` of the images in the batches.
        batch_size: Integer.
        unlabeled: Integer, the number of further training examples without labels.

    Returns:
        String.
    """
    *stored, channels = source.image_shape
    training, test = counts
    target = f"{size[0]}x{size[1]}x{channels}"
    if None in stored:
        images = f"Images of several sizes become {target}"
    elif tuple(stored) == tuple(size):
        images = f"Images are {target}, as stored"
    else:
        images = f"Images of {stored[0]}x{stored[1]} become {target}"
    more = f", and {unlabeled:,} without labels" if unlabeled else ""
    buffer = buffer_size(source.image_shape, training + unlabeled)
    batch = 4 * batch_size * size[0] * size[1] * channels
    return (
        f"{source.title}: {training:,} training and {test:,} test images of "
        f"{source.num_classes} classes{more}. {images}; they are decoded for each "
        "batch.\n"
        f"Memory: {_megabytes(buffer * source.bytes_per_example())} for "
        f"{buffer:,} encoded images that are shuffled, {_megabytes(batch)} for each "
        f"batch of {batch_size}."
    )


def _megabytes(count):
    return f"{count / 1e6:,.1f} MB" if count >= 1e6 else f"{count / 1e3:,.1f} kB"
