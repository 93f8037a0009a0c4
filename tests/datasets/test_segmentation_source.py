import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from keras_diffkd.datasets import segmentation_source
from keras_diffkd.datasets.known import SegmentationConventions
from keras_diffkd.datasets.preparation import prepared_builder
from keras_diffkd.datasets.segmentation_source import SegmentationSource

KNOWN = SegmentationConventions(
    label_names=("cat", "dog"), values=(3, 1), ignored=(2, 255)
)
UNKNOWN = SegmentationConventions(ignored=(255,))
LABELED = tfds.features.LabeledImage(labels=["ground", "cat", "dog"])


@pytest.fixture
def make_masks(make_data_set):
    """Prepares masks, each a list of pixel values, and returns the builder."""

    def make_masks(examples, mask=None, name="segmentation_of_pets", **more):
        features = {
            "picture": tfds.features.Image(encoding_format="png"),
            name: mask or tfds.features.Image(shape=(None, None, 1)),
            **more,
        }

        def example(values):
            pixels = np.array(values, np.uint8).reshape(1, -1, 1)
            return {
                key: np.tile(pixels, feature.shape[-1]).astype(feature.np_dtype)
                for key, feature in features.items()
            }

        examples = {
            split: [example(values) for values in masks]
            for split, masks in examples.items()
        }
        return make_data_set(features, examples)

    return make_masks


def decoded(source, split="train"):
    return [
        source.decode_mask(mask).numpy()[0, :, 0].tolist()
        for _, mask in source.read(split)
    ]


def test_known_values_become_classes(make_masks):
    builder = make_masks({"train": [[1, 2, 3, 255, 3]]})
    source = SegmentationSource(builder, KNOWN, ignore_label=255)
    assert source.image_shape == (None, None, 3)
    assert source.label_names == ["cat", "dog"]
    assert source.num_classes == 2
    assert decoded(source) == [[1, 255, 0, 255, 0]]
    image, _ = next(iter(source.read("train")))
    assert source.decode(image).numpy()[0, :, 0].tolist() == [1, 2, 3, 255, 3]
    assert source.count("train") == 1


def test_labeled_images_name_their_classes(make_masks, tmp_path):
    make_masks({"train": [[0, 2, 255, 1]]}, mask=LABELED, name="anything")
    # Without the code of the data set.
    source = SegmentationSource(prepared_builder("toy", tmp_path), UNKNOWN, 255)
    assert source.label_names == ["ground", "cat", "dog"]
    assert decoded(source) == [[0, 2, 255, 1]]
    assert source.count("train") == 1


def test_masks_whose_classes_nobody_knows(make_masks):
    with pytest.raises(ValueError, match="does not name the classes.*LabeledImage"):
        SegmentationSource(make_masks({"train": [[0]]}), UNKNOWN, 255)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "depth"}, "not a semantic segmentation data set.*Received none"),
        ({"mask": LABELED, "depth": LABELED}, r"Received \['depth', 'segmentation_of"),
        (
            {"mask": tfds.features.Image(shape=(None, None, 1), dtype=np.uint16)},
            "Received none",
        ),
        (
            {"mask": tfds.features.LabeledImage(labels=256)},
            "at most 255 classes. Received: 256",
        ),
        ({"left": tfds.features.Image()}, r"no image.*Received \['left', 'picture'\]"),
    ],
)
def test_data_sets_that_are_not_for_segmentation(make_masks, options, message):
    builder = make_masks({"train": [[0]]}, **options)
    with pytest.raises(ValueError, match=f"'toy/1.0.0'.*{message}"):
        SegmentationSource(builder, UNKNOWN, 255)


def test_unknown_classes_are_found_before_anything_starts(make_masks):
    builder = make_masks({"test": [[1, 3], [3, 7, 0]]})
    source = SegmentationSource(builder, KNOWN, 255)
    expected = r"unknown classes. Example \d of 'test'.*\[0, 7\].*\[1, 2, 3, 255\]"
    with pytest.raises(ValueError, match=expected):
        source.count("test")


def test_later_unknown_classes_stop_the_reading(make_masks, monkeypatch):
    monkeypatch.setattr(segmentation_source, "_NUM_MASKS_CHECKED", 1)
    builder = make_masks({"good": [[1, 3]], "bad": [[3, 7, 0]]})
    source = SegmentationSource(builder, KNOWN, 255)
    assert source.count("good+bad") == 2
    with pytest.raises(tf.errors.InvalidArgumentError, match="unknown classes"):
        decoded(source, "good+bad")


def test_looks_at_a_limited_number_of_pixels(make_masks, monkeypatch):
    monkeypatch.setattr(segmentation_source, "_PIXELS_CHECKED", 3)
    builder = make_masks({"good": [[1, 3], [3, 1]], "bad": [[3, 7, 0]]})
    assert SegmentationSource(builder, KNOWN, 255).count("good+bad") == 3


def test_masks_that_are_void(make_masks):
    # What data sets store where the truth is not published.
    source = SegmentationSource(make_masks({"test": [[2, 2], [255]]}), KNOWN, 255)
    with pytest.raises(ValueError, match="no classes in the masks of the split 'test'"):
        source.count("test")


@pytest.mark.parametrize("split", ["nonsense", "train[:0]"])
def test_unknown_and_empty_splits(make_masks, split):
    source = SegmentationSource(make_masks({"train": [[1]]}), KNOWN, 255)
    with pytest.raises(ValueError, match="no examples in the split"):
        source.count(split)
