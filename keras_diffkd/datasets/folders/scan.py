"""Examines the images of a data set, and says what is wrong with them."""

import collections
import concurrent.futures
import typing
import warnings
from pathlib import Path

from keras_diffkd.datasets.folders.image_file import BadImageError, examine

BAD_IMAGES = ("skip", "refuse")
_TRAINED_ON = ("train", "unlabeled")
# Paths that a message shows.
_SHOWN = 3


class Example(typing.NamedTuple):
    """Describes an example of a user's data set.

    Attributes:
        image: `Path` of the image.
        split: "train", "validation", "test" or "unlabeled".
        target: What the task adds: a class number, `-1` without a label, the `Path` of
            a mask, or a list of objects.
        file: `ImageFile`, or `None` before the image is examined.
        found: What was found in the files of the target.
    """

    image: Path
    split: str
    target: object
    file: object = None
    found: object = None


def examined(examples, examine_target, bad_images):
    """Examines the files of examples.

    Args:
        examples: List of `Example`.
        examine_target: Callable from an `Example` with its `ImageFile` to what its
            target's files hold. It raises `BadImageError` for those of no use.
        bad_images: "skip" to leave out the examples whose image cannot be used, or
            "refuse".

    Returns:
        `(examples, problems)`: the usable examples, with what was found, and a list
        of strings, a line about each kind of problem.

    Raises:
        ValueError: If `bad_images` is neither, or if it is "refuse" and there is a bad
            image. The message names the files.
    """
    if bad_images not in BAD_IMAGES:
        raise ValueError(
            f"`bad_images` must be one of {BAD_IMAGES}. Received: {bad_images!r}."
        )
    bad, good = [], []
    with warnings.catch_warnings(), concurrent.futures.ThreadPoolExecutor() as pool:
        # Pillow warns of large images and of odd metadata.
        warnings.simplefilter("ignore")
        found = pool.map(lambda each: _examine(each, examine_target), examples)
        for example, result in zip(examples, found, strict=True):
            if isinstance(result, BadImageError):
                bad.append(f"{example.image}: {result}")
            else:
                good.append(result)
    if not bad:
        return good, []
    said = f"{len(bad)} of {len(examples)} images cannot be used: {shown(bad)}"
    if bad_images == "refuse":
        raise ValueError(
            f"{said}. Repair or remove them, or leave them out with bad_images='skip' "
            "(--bad_images=skip)."
        )
    return good, [f"{said}. They are left out."]


def _examine(example, examine_target):
    try:
        example = example._replace(file=examine(example.image))
        return example._replace(found=examine_target(example))
    except BadImageError as error:
        return error


def shown(texts):
    """Returns the first few of a list of texts, and how many more there are."""
    more = len(texts) - _SHOWN
    return "; ".join(map(str, texts[:_SHOWN])) + (f"; and {more} more" * (more > 0))


def repeated(examples):
    """Returns lines about images that occur twice where that does harm.

    Args:
        examples: List of examined `Example`s.
    """
    first, twice, tested = {}, [], 0
    for example in examples:
        if example.split in _TRAINED_ON:
            first[example.file.sha256] = example
    for example in examples:
        if example.split in _TRAINED_ON:
            continue
        tested += 1
        other = first.get(example.file.sha256)
        if other is not None:
            twice.append(f"{example.image} is {other.image}")
    if not twice:
        return []
    return [
        f"{len(twice)} of {tested} images for testing are training images, too, so "
        f"that the test flatters the models: {shown(twice)}."
    ]


def changes(examples):
    """Returns a line about images whose pixels are converted, or none."""
    counts = collections.Counter(
        change for example in examples for change in example.file.changes
    )
    texts = [f"{count} {change}" for change, count in sorted(counts.items())]
    return [f"Converted images: {'; '.join(texts)}."] if texts else []
