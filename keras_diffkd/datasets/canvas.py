"""Chooses the size of the images for detection and segmentation."""

from keras_diffkd.datasets.stream import check_integer

_DEFAULT = (512, 512)


def canvas_size(image_size, image_shape):
    """Returns `(height, width)` of the images in the batches.

    Args:
        image_size: `None`, an integer for square images, or `(height, width)`.
        image_shape: `(height, width, channels)` of the data set. Height and width are
            `None` if its images differ in size.

    Raises:
        ValueError: If `image_size` is none of these.

    Example:

    >>> canvas_size(None, (None, None, 3)), canvas_size(64, (None, None, 3))
    ((512, 512), (64, 64))
    """
    if image_size is None:
        return _DEFAULT if None in image_shape[:2] else tuple(image_shape[:2])
    sides = image_size if isinstance(image_size, tuple | list) else [image_size] * 2
    if len(sides) != 2:
        raise ValueError(
            "`image_size` must be an integer or (height, width). "
            f"Received: {image_size!r}."
        )
    for side in sides:
        check_integer("image_size", side, 1)
    return tuple(sides)
