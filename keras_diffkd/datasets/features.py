"""Finds the image and the mask among the features of a TFDS data set."""

import numpy as np
import tensorflow_datasets as tfds


def only(found, preferred, expectation, features):
    """Returns the only key that was found, or the preferred one of several.

    Args:
        found: List of keys.
        preferred: The key to use if several were found.
        expectation: String, the first sentence of the error: what was expected.
        features: Dict of the features that were searched.

    Raises:
        ValueError: If no key was found, or several without the preferred one.

    Example:

    >>> only(["pose", "label"], "label", "Expected one label.", {})
    'label'
    """
    if preferred in found:
        return preferred
    if len(found) != 1:
        raise ValueError(
            f"{expectation} Received {sorted(found) or 'none'} among the features "
            f"{sorted(features)}."
        )
    return found[0]


def find_image(name, features):
    """Returns the key of the uint8 image with colors.

    Args:
        name: Name of the data set, for the error.
        features: `tfds.features.FeaturesDict`.

    Raises:
        ValueError: If there is no image, or several without one named "image".
    """
    found = [key for key, feature in features.items() if _is_image(feature, {3})]
    if not found and "image" in features and _is_image(features["image"], {1}):
        found = ["image"]
    return only(
        found,
        "image",
        f"{name} has no image to train on: expected one uint8 image, or one of "
        "several with the name 'image'.",
        features,
    )


def find_mask(name, features):
    """Returns the key of the uint8 image whose pixels are classes.

    It is a `tfds.features.LabeledImage`, or else an image with one channel whose name
    begins with "segmentation".

    Args:
        name: Name of the data set, for the error.
        features: `tfds.features.FeaturesDict`.

    Raises:
        ValueError: If there is no such image, or several.
    """
    labeled = [
        key
        for key, feature in features.items()
        if isinstance(feature, tfds.features.LabeledImage) and _is_image(feature, {1})
    ]
    named = [
        key
        for key, feature in features.items()
        if key.startswith("segmentation") and _is_image(feature, {1})
    ]
    return only(
        labeled or named,
        "segmentation_mask",
        f"{name} is not a semantic segmentation data set: expected one mask, a "
        "uint8 `tfds.features.LabeledImage`, or a uint8 image of one channel whose "
        "name begins with 'segmentation'.",
        features,
    )


def _is_image(feature, channels):
    return (
        isinstance(feature, tfds.features.Image)
        and feature.np_dtype == np.uint8
        and feature.shape[-1] in channels
    )
