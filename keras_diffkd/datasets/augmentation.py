"""Augments training images with pure functions of an image and a seed."""

import tensorflow as tf

# Raise it when an augmentation gives another image for the same seed: stored outputs of
# a teacher belong to the old images.
VERSION = 1


def crop(image, size, seed):
    """Shifts an image at random, by zero padding and a crop of the same size.

    The padding on each side is an eighth of the size: 4 pixels for 32x32 images, as in
    the CIFAR literature, and 1 pixel for 8x8 digits.

    Args:
        image: uint8 `(height, width, channels)` of known size.
        size: `(height, width)` of the result. A crop of another size is resized.
        seed: Integer tensor of shape `(2,)`.

    Returns:
        float32 `(*size, channels)` in 0..255.
    """
    height, width, channels = image.shape
    margin_y, margin_x = height // 8, width // 8
    padded = tf.pad(image, [[margin_y, margin_y], [margin_x, margin_x], [0, 0]])
    cropped = tf.image.stateless_random_crop(padded, (height, width, channels), seed)
    return resize(cropped, size)


def crop_flip(image, size, seed):
    """Applies `crop` and mirrors half of the images, as on CIFAR.

    Arguments and result are those of `crop`.
    """
    crop_seed, flip_seed = tf.unstack(tf.random.split(seed, 2))
    return tf.image.stateless_random_flip_left_right(
        crop(image, size, crop_seed), flip_seed
    )


def random_resized_crop(image, size, seed):
    """Crops 8% to 100% of the area, resizes and mirrors, as on ImageNet.

    The arguments are those of `crop`, but `image` may have any size. Source: Szegedy et
    al., "Going deeper with convolutions" (arXiv 1409.4842).
    """
    crop_seed, flip_seed = tf.unstack(tf.random.split(seed, 2))
    begin, extent, _ = tf.image.stateless_sample_distorted_bounding_box(
        tf.shape(image),
        bounding_boxes=tf.constant([[[0.0, 0.0, 1.0, 1.0]]]),
        seed=crop_seed,
        min_object_covered=0.0,
        aspect_ratio_range=(3 / 4, 4 / 3),
        area_range=(0.08, 1.0),
        max_attempts=10,
    )
    cropped = tf.ensure_shape(
        tf.slice(image, begin, extent), (None, None, image.shape[-1])
    )
    return tf.image.stateless_random_flip_left_right(resize(cropped, size), flip_seed)


def none(image, size, seed):
    """Prepares a training image like a test image, with the arguments of `crop`."""
    del seed
    return center(image, size)


def center(image, size):
    """Prepares a test image.

    An image of known size is resized. An image of unknown size (ImageNet) is resized so
    that its shorter side is 8/7 of that of the result (256 for 224), and then cropped
    at the center.

    Args:
        image: uint8 `(height, width, channels)`.
        size: `(height, width)` of the result.

    Returns:
        float32 `(*size, channels)` in 0..255.
    """
    if image.shape.is_fully_defined():
        return resize(image, size)
    shape = tf.cast(tf.shape(image)[:2], tf.float32)
    scale = tf.reduce_max(tf.constant(size, tf.float32) * 8 / 7 / shape)
    larger = tf.cast(tf.round(shape * scale), tf.int32)
    image = tf.image.resize(image, larger, antialias=True)
    offset = (tf.shape(image)[:2] - size) // 2
    return tf.ensure_shape(
        image[offset[0] : offset[0] + size[0], offset[1] : offset[1] + size[1]],
        (*size, image.shape[-1]),
    )


def resize(image, size):
    """Resizes to float32 `(*size, channels)` with an antialiased bilinear filter."""
    if image.shape[:2] == size:
        return tf.cast(image, tf.float32)
    return tf.image.resize(image, size, antialias=True)


AUGMENTATIONS = {
    "none": none,
    "crop": crop,
    "crop_flip": crop_flip,
    "random_resized_crop": random_resized_crop,
}
