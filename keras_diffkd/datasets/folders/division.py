"""Divides a data set without splits into training and test images."""

import re

DEFAULT = "20%"


def is_share(split):
    """Returns whether a split is a share of all images, such as "20%".

    Example:

    >>> is_share("20%"), is_share("test[:20%]"), is_share(None)
    (True, False, False)
    """
    return isinstance(split, str) and re.fullmatch(r"\d+(\.\d+)?%", split) is not None


def divided(examples, share, strata):
    """Moves a share of the training images into the split "test".

    The order of the hashes of the files draws them, so that the choice is the same on
    each machine and with each seed, and hardly changes when images are added. The same
    images are on the same side.

    Args:
        examples: List of examined `Example`s, those of "train" are divided.
        share: String such as "20%".
        strata: Callable from an `Example` to its stratum, such as its class. Each
            stratum is divided by itself.

    Returns:
        List of `Example`, in the same order.

    Raises:
        ValueError: If the share is not above 0% and below 100%.

    Example:

    >>> from keras_diffkd.datasets.folders.image_file import ImageFile
    >>> from keras_diffkd.datasets.folders.scan import Example
    >>> examples = [
    ...     Example(f"{i}.png", "train", i % 2, ImageFile(str(i), 8, 8, 1, ()))
    ...     for i in range(10)
    ... ]
    >>> examples = divided(examples, "20%", lambda example: example.target)
    >>> [example.image for example in examples if example.split == "test"]
    ['0.png', '1.png']
    """
    fraction = float(share[:-1]) / 100
    if not 0 < fraction < 1:
        raise ValueError(
            "A share of the images for testing must be above 0% and below 100%. "
            f"Received: test_split={share!r}."
        )
    groups = {}
    for example in examples:
        if example.split != "train":
            continue
        hashes = groups.setdefault(strata(example), {})
        hashes[example.file.sha256] = hashes.get(example.file.sha256, 0) + 1
    chosen = set()
    for stratum, hashes in groups.items():
        wanted = round(fraction * sum(hashes.values())) or 1
        for digest in sorted(hashes)[:-1]:
            if wanted <= 0:
                break
            chosen.add((stratum, digest))
            wanted -= hashes[digest]
    return [
        example._replace(split="test")
        if example.split == "train" and (strata(example), example.file.sha256) in chosen
        else example
        for example in examples
    ]
