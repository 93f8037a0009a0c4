"""Defines the TFDS data set `digits`: handwritten digits from UCI."""

import numpy as np
import tensorflow_datasets as tfds

CITATION = """\
@misc{alpaydin1998digits,
  author = {Alpaydin, E. and Kaynak, C.},
  title  = {Optical Recognition of Handwritten Digits},
  year   = {1998},
  publisher = {UCI Machine Learning Repository},
  doi    = {10.24432/C50P49}
}
"""

_DESCRIPTION = """\
1,797 real handwritten digits from 13 writers, 8x8 pixels: the copy of the test
part of "Optical Recognition of Handwritten Digits" (UCI) in scikit-learn. Gray
values 0..16 are scaled to 0..255. Every fourth image of each class, in the order
of the source, is in the test split (445 images). The rest (1,352) is the training
split. Nothing is downloaded.
"""

_TEST_EVERY = 4


class Digits(tfds.core.GeneratorBasedBuilder):
    """Builds `digits`, real 8x8 handwritten digits, without a download.

    Features: `image` uint8 `(8, 8, 1)` in 0..255 and `label` in 0..9. Splits: `train`
    and `test`. They are disjoint, stratified, and the same on every machine.
    Importing `keras_diffkd.datasets` registers it with TFDS.

    Example:

    ```python
    import tensorflow_datasets as tfds

    import keras_diffkd.datasets

    builder = tfds.builder("digits", data_dir="/tmp/data")
    builder.download_and_prepare()
    print(builder.info.splits["test"].num_examples)  # 445
    ```

    Reference: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten
    Digits", UCI Machine Learning Repository, 1998 (CC BY 4.0).
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Initial release."}

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            description=_DESCRIPTION,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(8, 8, 1), dtype=np.uint8),
                    "label": tfds.features.ClassLabel(num_classes=10),
                }
            ),
            supervised_keys=("image", "label"),
            homepage="https://archive.ics.uci.edu/dataset/80",
            citation=CITATION,
            license="CC BY 4.0",
        )

    def _split_generators(self, dl_manager):
        del dl_manager  # Nothing to download.
        return {
            "train": self._generate_examples(test=False),
            "test": self._generate_examples(test=True),
        }

    def _generate_examples(self, test):
        for index, image, label in source_digits(test):
            yield index, {"image": image[..., None], "label": label}


def source_digits(test):
    """Yields (index in the source, uint8 `(8, 8)`, label) for the digits of a split.

    Args:
        test: Boolean, whether to yield the test split: every fourth image of each
        class.
    """
    # Imported only here: it is slow, and only the first use of the data set needs it.
    import sklearn.datasets

    source = sklearn.datasets.load_digits()
    images = np.rint(source.images * (255 / 16)).astype("uint8")
    seen = [0] * 10
    for index, (image, label) in enumerate(zip(images, source.target, strict=True)):
        seen[label] += 1
        if (seen[label] % _TEST_EVERY == 0) == test:
            yield index, image, int(label)
