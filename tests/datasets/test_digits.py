import numpy as np
import pytest
import sklearn.datasets
import tensorflow_datasets as tfds

from keras_diffkd.datasets import Digits


@pytest.fixture(scope="module")
def splits(data_dir):
    builder = tfds.builder("digits", data_dir=data_dir)
    builder.download_and_prepare()
    return {
        name: [
            (example["image"], example["label"])
            for example in builder.as_dataset(split=name).as_numpy_iterator()
        ]
        for name in ("train", "test")
    }


def test_is_registered_with_tfds():
    assert tfds.builder_cls("digits") is Digits
    assert "digits" in tfds.list_builders()


def test_images_are_the_gray_values_scaled_to_255(splits):
    images = np.array([image for image, _ in splits["train"] + splits["test"]])
    assert images.shape == (1797, 8, 8, 1)
    assert images.dtype == np.uint8
    assert images.min() == 0
    assert images.max() == 255
    # Scaling loses nothing: all images of the source are there.
    source = sklearn.datasets.load_digits().images.astype(int).reshape(1797, -1)
    restored = np.rint(images / 255 * 16).astype(int).reshape(1797, -1)
    assert sorted(map(tuple, restored)) == sorted(map(tuple, source))


def test_labels_belong_to_their_images(splits):
    source = sklearn.datasets.load_digits()
    label_of = {
        tuple(image.astype(int).ravel()): label
        for image, label in zip(source.images, source.target, strict=True)
    }
    for image, label in splits["train"] + splits["test"]:
        assert label_of[tuple(np.rint(image / 255 * 16).astype(int).ravel())] == label


def test_splits_are_stratified_disjoint_and_fixed(splits):
    counts = {
        name: np.bincount([label for _, label in examples], minlength=10)
        for name, examples in splits.items()
    }
    assert len(splits["train"]) == 1352
    assert len(splits["test"]) == 445
    total = counts["train"] + counts["test"]
    assert (counts["test"] == total // 4).all()
    images = {
        name: {i.tobytes() for i, _ in examples} for name, examples in splits.items()
    }
    assert not images["train"] & images["test"]
    # The same split on every machine: the sum of all gray values of the test split.
    assert sum(int(image.sum()) for image, _ in splits["test"]) == 2_225_602
