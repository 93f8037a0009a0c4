"""Which feature of a TFDS data set is the one that is looked for."""

import numpy as np
import tensorflow_datasets as tfds


def only(found, preferred, expectation, features):
    """Returns the one feature that was found, or the preferred one of several.

    Args:
        found: List of keys.
        preferred: The key that is meant where several were found.
        expectation: The first sentence of the error, with what was expected.
        features: What was searched.

    Raises:
        ValueError: If none was found, or several without the preferred one.

    Example:

    >>> only(["pose", "label"], "label", "One label, please.", {})
    'label'
    """
    if preferred in found:
        return preferred
    if len(found) != 1:
        raise ValueError(
            f"{expectation} Found {sorted(found) or 'none'} among the features "
            f"{sorted(features)}."
        )
    return found[0]


def find_image(name, features):
    """Returns the key of the one uint8 image with colours.

    Args:
        name: The data set, for the error.
        features: `tfds.features.FeaturesDict`.

    Raises:
        ValueError: If there is none, or several and none is called "image".
    """
    found = [key for key, feature in features.items() if _is_image(feature, {3})]
    if not found and "image" in features and _is_image(features["image"], {1}):
        found = ["image"]
    return only(
        found,
        "image",
        f"{name} has no image to train on: expected one uint8 image, or 'image'.",
        features,
    )


def find_mask(name, features):
    """Returns the key of the one uint8 image whose pixels are classes.

    A `tfds.features.LabeledImage`, or else an image of one channel that is called
    "segmentation...".

    Args:
        name: The data set, for the error.
        features: `tfds.features.FeaturesDict`.

    Raises:
        ValueError: If there is none or several.
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
