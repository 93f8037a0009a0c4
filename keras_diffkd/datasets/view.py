"""Places images of any size on a canvas, with letterboxing and augmentation."""

import dataclasses

import tensorflow as tf

# Raise it when an augmentation gives another view for the same seed: stored outputs of
# a teacher belong to the old views.
VERSION = 1
# Share of a box that must be visible for its object to count.
_MIN_VISIBLE = 0.25
# "Standard scale jittering" of Ghiasi et al., arXiv 2012.07177.
_MIN_SCALE, _MAX_SCALE = 0.8, 1.25


@dataclasses.dataclass(frozen=True)
class View:
    """Describes a resized and possibly mirrored image at a place on a canvas.

    Image, mask and boxes use the same view, so that they match.

    Attributes:
        size: `(height, width)` of the canvas, integers.
        extent: int32 tensor `(2,)`, the height and width of the resized image.
        offset: int32 tensor `(2,)`, the place of the top left corner of the image. It
            is negative if the image is cut off there.
        mirrored: Boolean tensor, whether left and right are swapped.

    Example:

    >>> view = letterbox((2, 4, 3), size=(8, 8))
    >>> view.extent.numpy()
    array([4, 8], dtype=int32)
    >>> boxes, visible = view.show_boxes(tf.constant([[0.0, 0.5, 1.0, 1.0]]))
    >>> boxes.numpy()
    array([[4., 0., 8., 4.]], dtype=float32)
    """

    size: tuple
    extent: tf.Tensor
    offset: tf.Tensor
    mirrored: tf.Tensor

    def show_image(self, image):
        """Returns the canvas with the image, float32 `(*size, channels)` in 0..255.

        The canvas is black around the image.

        Args:
            image: uint8 `(height, width, channels)`.
        """
        resized = tf.image.resize(image, self.extent, antialias=True)
        return self._place(tf.ensure_shape(resized, (None, None, image.shape[-1])), 0)

    def show_mask(self, mask, outside):
        """Returns the canvas with the nearest pixels of the mask, int32 `(*size)`.

        Args:
            mask: Integers `(height, width, 1)`.
            outside: Integer, the value around the mask.
        """
        resized = tf.image.resize(tf.cast(mask, tf.int32), self.extent, "nearest")
        return self._place(resized, outside)[..., 0]

    def show_boxes(self, boxes):
        """Returns the boxes on the canvas, and whether they are visible.

        Args:
            boxes: float32 `(count, 4)`: `ymin, xmin, ymax, xmax` in 0..1, as in TFDS.

        Returns:
            `(boxes, visible)`: float32 `(count, 4)`, `xmin, ymin, xmax, ymax` in
            pixels, clipped to the canvas; and boolean `(count,)`, whether more than a
            quarter of the box is on the canvas. A box without area is not visible.
        """
        top, left, bottom, right = tf.unstack(boxes, axis=-1)
        left, right = (
            tf.where(self.mirrored, 1 - right, left),
            tf.where(self.mirrored, 1 - left, right),
        )
        extent, offset = (
            tf.cast(tf.tile(vector[::-1], [2]), tf.float32)
            for vector in (self.extent, self.offset)
        )
        whole = tf.stack([left, top, right, bottom], axis=-1) * extent + offset
        height, width = self.size
        clipped = tf.clip_by_value(whole, 0.0, [width, height, width, height])
        return clipped, _area(clipped) > _MIN_VISIBLE * _area(whole)

    def _place(self, resized, outside):
        """Returns the part of the resized image on the canvas, padded to its size."""
        resized = tf.where(self.mirrored, resized[:, ::-1], resized)
        begin = tf.maximum(-self.offset, 0)
        end = tf.minimum(self.extent, self.size - self.offset)
        part = resized[begin[0] : end[0], begin[1] : end[1]]
        before = tf.maximum(self.offset, 0)
        after = self.size - before - (end - begin)
        paddings = tf.stack([before, after], axis=1)
        paddings = tf.pad(paddings, [[0, 1], [0, 0]])  # Channels are not padded.
        padded = tf.pad(part, paddings, constant_values=outside)
        return tf.ensure_shape(padded, (*self.size, resized.shape[-1]))


def letterbox(shape, size):
    """Returns the view of a whole image at the top left, with its aspect ratio.

    Args:
        shape: `(height, width, ...)` of the image, integers or a tensor.
        size: `(height, width)` of the canvas.
    """
    extent = _extent(shape, size, 1.0)
    return View(size, extent, tf.zeros([2], tf.int32), tf.constant(False))


def none(shape, size, seed):
    """Returns the view of a training image that is shown like a test image.

    Args:
        shape: As in `letterbox`.
        size: As in `letterbox`.
        seed: Integer tensor of shape `(2,)`.

    Returns:
        A `View`.
    """
    del seed
    return letterbox(shape, size)


def flip(shape, size, seed):
    """Mirrors half of the images. Arguments and result are those of `none`."""
    mirrored = tf.random.stateless_uniform([], seed) < 0.5
    return dataclasses.replace(letterbox(shape, size), mirrored=mirrored)


def crop(shape, size, seed):
    """Scales an image by 0.8 to 1.25 and shifts it, so that parts may be cut off.

    Arguments and result are those of `none`. The scales are those of Ghiasi et al.,
    "Simple Copy-Paste is a Strong Data Augmentation Method for Instance Segmentation"
    (arXiv 2012.07177). An image that is smaller than the canvas may be anywhere on it.
    """
    random = tf.random.stateless_uniform([3], seed)
    scale = _MIN_SCALE + (_MAX_SCALE - _MIN_SCALE) * random[0]
    extent = _extent(shape, size, scale)
    room = size - extent
    steps = tf.cast(tf.abs(room), tf.float32) + 1
    moved = tf.cast(tf.floor(random[1:] * steps), tf.int32)
    return View(size, extent, tf.sign(room) * moved, tf.constant(False))


def crop_flip(shape, size, seed):
    """Applies `crop` and mirrors half of the images, with the arguments of `none`."""
    crop_seed, flip_seed = tf.unstack(tf.random.split(seed, 2))
    mirrored = flip(shape, size, flip_seed).mirrored
    return dataclasses.replace(crop(shape, size, crop_seed), mirrored=mirrored)


def _extent(shape, size, scale):
    shape = tf.cast(shape[:2], tf.float32)
    fit = tf.reduce_min(tf.constant(size, tf.float32) / shape)
    return tf.cast(tf.maximum(tf.round(shape * fit * scale), 1), tf.int32)


def _area(boxes):
    left, top, right, bottom = tf.unstack(boxes, axis=-1)
    return (right - left) * (bottom - top)


VIEWS = {"none": none, "flip": flip, "crop": crop, "crop_flip": crop_flip}


def find_view(name):
    """Returns the function in `VIEWS` with the given name.

    Raises:
        ValueError: If the name is not in `VIEWS`.
    """
    if name not in VIEWS:
        raise ValueError(
            f"`augment` must be one of {sorted(VIEWS)}. Received: {name!r}."
        )
    return VIEWS[name]
