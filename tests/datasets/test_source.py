import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from keras_diffkd.datasets import source as source_module
from keras_diffkd.datasets.source import ClassificationSource


def colors(source, examples):
    return [int(source.decode(image)[0, 0, 0]) for image, _ in examples]


def test_reads_the_features_that_the_metadata_names(make_builder, flat_images):
    source = ClassificationSource(make_builder({"train": flat_images([0, 1, 2, 1])}))
    assert source.image_shape == (4, 4, 3)
    assert source.num_classes == 3
    assert source.label_names == ["0", "1", "2"]
    pairs = {
        (int(source.decode(image)[0, 0, 0]), int(label))
        for image, label in source.read("train")
    }
    assert pairs == {(0, 0), (1, 1), (2, 2), (3, 1)}


def test_images_of_many_sizes_stay_encoded_until_decoded(make_builder, rng):
    sizes = [(5, 7), (6, 4)]
    images = [rng.integers(0, 256, (*size, 3), np.uint8) for size in sizes]
    builder = make_builder(
        {"train": [(image, 0) for image in images]},
        image=tfds.features.Image(shape=(None, None, 3), encoding_format="png"),
    )
    source = ClassificationSource(builder)
    assert source.image_shape == (None, None, 3)
    examples = source.read("train")
    assert examples.element_spec[0].dtype == tf.string
    decoded = {source.decode(image).numpy().tobytes() for image, _ in examples}
    assert decoded == {image.tobytes() for image in images}


def test_file_seed_decides_the_order_of_the_files(make_builder, flat_images):
    builder = make_builder({"train": flat_images([0] * 60)}, num_shards=6)
    source = ClassificationSource(builder)
    in_order = colors(source, source.read("train"))
    first = colors(source, source.read("train", file_seed=1))
    assert first == colors(source, source.read("train", file_seed=1))
    assert first != in_order
    assert first != colors(source, source.read("train", file_seed=2))
    assert sorted(first) == sorted(in_order) == list(range(60))


def test_slices_of_splits(make_builder, flat_images):
    source = ClassificationSource(make_builder({"train": flat_images([0] * 10)}))
    assert source.count("train[:80%]") == 8
    assert source.count("train[80%:]") == 2
    parts = colors(source, source.read("train[:80%]"))
    parts += colors(source, source.read("train[80%:]"))
    assert sorted(parts) == list(range(10))


@pytest.mark.parametrize("split", ["nonsense", "train[:0]", "train[10:]"])
def test_unknown_and_empty_splits(make_builder, flat_images, split):
    source = ClassificationSource(make_builder({"train": flat_images([0] * 10)}))
    with pytest.raises(ValueError, match="toy.*no examples in the split"):
        source.count(split)


def test_default_test_split(make_builder, flat_images):
    examples = flat_images([0])
    source = ClassificationSource(
        make_builder({"train": examples, "validation": examples})
    )
    assert source.default_test_split() == "validation"


def test_default_test_split_prefers_test(make_builder, flat_images):
    examples = flat_images([0])
    source = ClassificationSource(
        make_builder({"test": examples, "validation": examples})
    )
    assert source.default_test_split() == "test"


def test_missing_labels_are_found_before_anything_starts(make_builder, flat_images):
    # -1 is what TFDS stores for examples without a label.
    source = ClassificationSource(make_builder({"test": flat_images([0, 1, -1])}))
    with pytest.raises(ValueError, match=r"outside its 3 classes .*'test'.*\[-1\]"):
        source.count("test")


def test_a_later_wrong_label_stops_the_reading(make_builder, flat_images, monkeypatch):
    monkeypatch.setattr(source_module, "_NUM_LABELS_CHECKED", 0)
    source = ClassificationSource(make_builder({"test": flat_images([0, 1, -1])}))
    labels = source.read("test").map(lambda _, label: source.check_label(label))
    with pytest.raises(tf.errors.InvalidArgumentError, match="outside its 3 classes"):
        list(labels)


@pytest.mark.parametrize(
    "changes",
    [
        {"supervised_keys": None},
        {"supervised_keys": ("picture", "picture")},
        {"label": tfds.features.Scalar(np.int64)},
        {"image": tfds.features.Image(shape=(4, 4, 1), dtype=np.uint16)},
        {"image": tfds.features.Tensor(shape=(4, 4, 3), dtype=np.uint8)},
    ],
)
def test_data_sets_that_are_not_for_classification(make_builder, changes):
    image = changes.get("image", tfds.features.Image(shape=(4, 4, 3)))
    example = (np.zeros(image.shape, image.np_dtype), 0)
    builder = make_builder({"train": [example]}, **changes)
    with pytest.raises(ValueError, match="not an image classification data set"):
        ClassificationSource(builder)
