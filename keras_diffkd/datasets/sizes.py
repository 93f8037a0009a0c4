"""Finds out which sizes the images of a data set have."""

import collections
import io

from PIL import Image

# Examples of a split whose size is looked at.
_NUM_LOOKED_AT = 4096
_SHOWN = 3


def stored_sizes(source, splits):
    """Counts the sizes of the first 4096 encoded images of splits.

    Args:
        source: `TfdsSource` whose examples begin with an encoded image.
        splits: Iterable of splits.

    Returns:
        Dict from `(height, width)` to the number of images.
    """
    counts = collections.Counter()
    for split in dict.fromkeys(splits):
        examples = source.read(split).take(_NUM_LOOKED_AT)
        for image in examples.map(lambda image, *_: image).as_numpy_iterator():
            with Image.open(io.BytesIO(image)) as opened:
                counts[opened.size[::-1]] += 1
    return counts


def size_question(name, sizes):
    """Returns an error's message that asks for a size and says which ones there are.

    Args:
        name: Path or name of the data set.
        sizes: Dict from `(height, width)` to the number of images.

    Example:

    >>> size_question("photos", {(30, 40): 5, (40, 30): 1})[:63]
    'The images in photos differ in size. Received: 2 sizes: 30x40 ('
    """
    common = sorted(sizes.items(), key=lambda pair: (-pair[1], pair[0]))
    texts = [
        f"{height}x{width} ({count:,} image{'s' * (count > 1)})"
        for (height, width), count in common[:_SHOWN]
    ]
    if len(common) > _SHOWN:
        by_area = sorted(sizes, key=lambda size: size[0] * size[1])
        ends = [f"{height}x{width}" for height, width in (by_area[0], by_area[-1])]
        texts.append(f"and others, {' to '.join(ends)}")
    return (
        f"The images in {name} differ in size. Received: {len(sizes)} sizes: "
        f"{', '.join(texts)}. Say which size to train on: --image_size=224 "
        "(image_size=224 in Python)."
    )
