"""Defines the TFDS data set `digit_scenes`: handwritten digits with boxes and masks."""

import dataclasses

import numpy as np
import tensorflow_datasets as tfds

from keras_diffkd.datasets.digits import CITATION, source_digits

_DESCRIPTION = """\
One or more real handwritten digits at random places on a dark, noisy canvas. The
digits come from the data set `digits` (UCI, 8x8 pixels), enlarged by a bilinear
filter and tinted. Boxes do not overlap. Each digit has its class and a tight box
around its visible ink. The mask is the digit plus one where there is ink, and 0
elsewhere. Digits in the training split are never in the test split. Nothing is
downloaded, and the pixels are the same on every machine.
"""

_SEED = 20_240_607
_NOISE = 48
_INK = 96  # Gray value, of 255, from which a pixel counts as ink.
_TRIES = 50


@dataclasses.dataclass(eq=False)
class DigitScenesConfig(tfds.core.BuilderConfig):
    """Configures the size and number of the scenes.

    Attributes:
        size: Integer, the side of the canvas in pixels.
        max_digits: Integer, the largest number of digits in a scene. The smallest is 1.
        scales: Integers. Each digit is enlarged by one of these factors.
        num_train: Integer, the number of scenes in the training split.
        num_test: Integer, the number of scenes in the test split.
    """

    size: int = 64
    max_digits: int = 3
    scales: tuple = (3, 4)
    num_train: int = 4000
    num_test: int = 512


class DigitScenes(tfds.core.GeneratorBasedBuilder):
    """Builds `digit_scenes`, digits with boxes and masks, without a download.

    Features: `image` uint8 `(64, 64, 3)`; `objects`, a sequence of `bbox`
    (`ymin, xmin, ymax, xmax` in 0..1) and `label` in 0..9; `segmentation_mask`
    uint8 `(64, 64, 1)`, 0 for the background and the digit plus one for its ink.
    Configs: `default` (4,000 training scenes, 512 test scenes), `small` (the same
    with 64 and 32 scenes) and `large` (1 to 8 digits on 128 x 128 pixels).
    Importing `keras_diffkd.datasets` registers it with TFDS.

    Example:

    ```python
    import tensorflow_datasets as tfds

    import keras_diffkd.datasets

    builder = tfds.builder("digit_scenes/small", data_dir="/tmp/data")
    builder.download_and_prepare()
    print(builder.info.splits["test"].num_examples)  # 32
    ```

    Reference: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten
    Digits", UCI Machine Learning Repository, 1998 (CC BY 4.0). The scenes are ours.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Initial release."}
    BUILDER_CONFIGS = [
        DigitScenesConfig(name="default", description="4,000 scenes of 64 pixels."),
        DigitScenesConfig(
            name="small",
            description="64 scenes of 64 pixels, for quick trials.",
            num_train=64,
            num_test=32,
        ),
        DigitScenesConfig(
            name="large",
            description="4,000 scenes of 128 pixels with up to 8 digits.",
            size=128,
            max_digits=8,
            scales=(3, 4, 5, 6),
        ),
    ]

    def _info(self):
        size = self.builder_config.size
        objects = {
            "bbox": tfds.features.BBoxFeature(),
            "label": tfds.features.ClassLabel(num_classes=10),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            description=_DESCRIPTION,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(size, size, 3)),
                    "objects": tfds.features.Sequence(objects),
                    "segmentation_mask": tfds.features.Image(
                        shape=(size, size, 1), use_colormap=True
                    ),
                }
            ),
            homepage="https://archive.ics.uci.edu/dataset/80",
            citation=CITATION,
            license="CC BY 4.0",
        )

    def _split_generators(self, dl_manager):
        del dl_manager  # Nothing to download.
        config = self.builder_config
        return {
            "train": self._generate_examples(test=False, count=config.num_train),
            "test": self._generate_examples(test=True, count=config.num_test),
        }

    def _generate_examples(self, test, count):
        digits = [(image, label) for _, image, label in source_digits(test)]
        for index in range(count):
            rng = np.random.default_rng([_SEED, int(test), index])
            yield index, _scene(digits, self.builder_config, rng)


def _scene(digits, config, rng):
    """Returns the features of one scene."""
    size = config.size
    image = rng.integers(0, _NOISE, (size, size, 3))
    mask = np.zeros((size, size, 1), np.uint8)
    objects, placed = [], []
    for _ in range(rng.integers(1, config.max_digits + 1)):
        digit, label = digits[rng.integers(len(digits))]
        digit = enlarge(digit, int(rng.choice(config.scales)))
        tint = rng.integers(128, 256, 3)
        place = _free_place(digit, placed, size, rng)
        if place is None:
            continue  # The canvas is full.
        box = _ink_box(digit, *place)
        placed.append(box)
        _paste(image, mask, digit, tint, label, *place)
        bbox = tfds.features.BBox(*(side / size for side in box))
        objects.append({"bbox": bbox, "label": label})
    return {
        "image": image.astype(np.uint8),
        "objects": objects,
        "segmentation_mask": mask,
    }


def enlarge(image, scale):
    """Enlarges an image with a bilinear filter.

    It computes with integers, because floating-point sums differ between machines.

    Args:
        image: uint8 `(height, width)`.
        scale: Integer.

    Returns:
        int64 `(height * scale, width * scale)` in 0..255.

    Example:

    >>> import numpy as np
    >>> enlarge(np.array([[0, 80]], np.uint8), 2)
    array([[ 0, 20, 60, 80],
           [ 0, 20, 60, 80]])
    """
    rows, columns = (_weights(length, scale) for length in image.shape)
    return rows @ image.astype(np.int64) @ columns.T // (2 * scale) ** 2


def _weights(length, scale):
    """Returns the weight of each pixel in each enlarged pixel, times 2 * scale."""
    centers = 2 * np.arange(length * scale) + 1 - scale
    distance = np.abs(
        np.clip(centers, 0, 2 * scale * (length - 1))[:, None]
        - 2 * scale * np.arange(length)
    )
    return np.maximum(2 * scale - distance, 0)


def _ink_box(digit, top, left):
    """Returns the box around the ink of a digit that is placed at `(top, left)`."""
    rows, columns = (np.flatnonzero((digit >= _INK).any(axis)) for axis in (1, 0))
    corners = (
        top + rows[0],
        left + columns[0],
        top + rows[-1] + 1,
        left + columns[-1] + 1,
    )
    return tuple(map(int, corners))


def _free_place(digit, placed, size, rng):
    """Returns a random place where the box does not overlap another, or `None`."""
    for _ in range(_TRIES):
        place = [int(rng.integers(size - side + 1)) for side in digit.shape]
        box = _ink_box(digit, *place)
        if not any(_overlap(box, other) for other in placed):
            return place
    return None


def _overlap(box, other):
    return all(
        box[axis] < other[axis + 2] and other[axis] < box[axis + 2] for axis in (0, 1)
    )


def _paste(image, mask, ink, tint, label, top, left):
    """Draws a digit into the image and the mask, in place."""
    place = np.s_[top : top + ink.shape[0], left : left + ink.shape[1]]
    ink = ink[..., None]
    image[place] = (image[place] * (255 - ink) + tint * ink) // 255
    mask[place][ink >= _INK] = label + 1
