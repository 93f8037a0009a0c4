import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from keras_diffkd.datasets import load_classification
from keras_diffkd.datasets.source import ClassificationSource

MEAN, STD = 0.3049, 0.3756


@pytest.fixture
def digits(data_dir):
    def digits(**options):
        return load_classification(
            "digits", data_dir=data_dir, **{"batch_size": 64, **options}
        )

    return digits


def batches(data, count):
    return [image.tobytes() for image, _ in data.train.take(count).as_numpy_iterator()]


def pixels(image):
    return np.rint((image * STD + MEAN) * 255).astype(int)


def test_describes_the_data_set(digits):
    data = digits()
    assert (data.num_train_examples, data.num_test_examples) == (1352, 445)
    assert data.steps_per_epoch == 1352 // 64
    assert data.num_classes == 10
    assert data.image_shape == (8, 8, 1)
    assert data.label_names == list("0123456789")
    assert data.normalization == {
        "mean": [MEAN],
        "std": [STD],
        "input_range": [0, 255],
    }
    with pytest.raises(dataclasses.FrozenInstanceError):
        data.num_classes = 3


def test_training_batches(digits):
    data = digits(batch_size=32)
    image, label = data.train.element_spec
    assert (image.shape, image.dtype) == ((32, 8, 8, 1), tf.float32)
    assert (label.shape, label.dtype) == ((32,), tf.int64)
    assert data.train.cardinality() == tf.data.INFINITE_CARDINALITY


def test_pinned_mean_and_deviation_are_those_of_the_training_split(digits):
    data = digits(augment="none", batch_size=1352)
    images, _ = next(data.train.as_numpy_iterator())
    assert abs(images.mean()) < 5e-4
    assert abs(images.std() - 1) < 5e-4


def test_test_split_is_whole_in_order_and_unchanged(digits, data_dir):
    examples = list(digits().test.as_numpy_iterator())
    assert [len(label) for _, label in examples] == [64] * 6 + [61]
    stored = tfds.load("digits", split="test", data_dir=data_dir, batch_size=-1)
    images, labels = (np.concatenate(part) for part in zip(*examples, strict=True))
    np.testing.assert_array_equal(pixels(images), stored["image"])
    np.testing.assert_array_equal(labels, stored["label"])


def test_every_epoch_has_every_example_in_another_order(digits):
    data = digits(augment="none", batch_size=338)
    stream = [image for image, _ in data.train.take(8).as_numpy_iterator()]
    first, second = np.concatenate(stream[:4]), np.concatenate(stream[4:])
    assert (first != second).any()

    def contents(images):
        return sorted(image.tobytes() for image in images)

    assert contents(first) == contents(second)
    stored = digits(augment="none", test_split="train").test.unbatch()
    assert contents(first) == contents(image for image, _ in stored.as_numpy_iterator())


def test_augmentation_differs_from_epoch_to_epoch(digits):
    # Of 1352 examples, those that look the same in the second epoch as in the first.
    data = digits(batch_size=1352)
    first, second = (
        {image.tobytes() for image in images}
        for images, _ in data.train.take(2).as_numpy_iterator()
    )
    # One of nine shifts is drawn again.
    assert 0.05 < len(first & second) / 1352 < 0.25


def test_training_data_is_a_function_of_the_seed(digits):
    data = digits(seed=5)
    expected = batches(data, 25)
    assert batches(data, 25) == expected
    keras.utils.set_random_seed(0)
    assert batches(digits(seed=5), 25) == expected
    keras.utils.set_random_seed(7)
    assert batches(digits(seed=5), 25) == expected
    assert batches(digits(seed=6), 1) != expected[:1]


@pytest.mark.parametrize("start_step", [3, 21, 50])
def test_training_goes_on_at_any_step(digits, start_step):
    expected = batches(digits(), start_step + 3)[start_step:]
    assert batches(digits(start_step=start_step), 3) == expected


def test_files_are_read_in_another_order_every_epoch(
    make_builder, flat_images, tmp_path, monkeypatch
):
    # Without a shuffle buffer, the files alone make the order.
    monkeypatch.setattr("keras_diffkd.datasets.stream._BUFFER_SMALL_IMAGES", 1)
    examples = flat_images([0] * 40)
    make_builder({"train": examples, "test": examples}, num_shards=8)

    def load(**options):
        data = load_classification(
            "toy", data_dir=tmp_path, batch_size=40, augment="none", **options
        )
        stream = data.train.take(2).as_numpy_iterator()
        return [image[:, 0, 0, 0].tolist() for image, _ in stream]

    first, second = load()
    assert first != second
    assert sorted(first) == sorted(second)
    assert load() == [first, second]
    assert load(start_step=1)[0] == second


def test_data_set_smaller_than_a_batch(make_builder, flat_images, tmp_path):
    make_builder({"train": flat_images([0, 1, 2]), "test": flat_images([0])})
    data = load_classification("toy", data_dir=tmp_path, batch_size=8)
    assert data.steps_per_epoch == 1
    images, labels = next(iter(data.train))
    assert images.shape == (8, 4, 4, 3)
    assert np.bincount(labels).min() >= 2


def test_unknown_data_sets_are_normalized_around_one_half(
    make_builder, flat_images, tmp_path
):
    make_builder({"train": flat_images([0, 1]), "test": flat_images([0, 1, 2])})
    data = load_classification("toy", data_dir=tmp_path, batch_size=2)
    assert data.normalization["mean"] == data.normalization["std"] == [0.5, 0.5, 0.5]
    images = np.concatenate([image for image, _ in data.test.as_numpy_iterator()])
    expected = (np.arange(3) / 255 - 0.5) / 0.5
    np.testing.assert_allclose(sorted(images[:, 0, 0, 0]), expected, rtol=1e-5)


def test_splits_can_be_sliced(digits):
    data = digits(train_split="train[:80%]", test_split="train[80%:]")
    assert data.num_train_examples == 1082
    assert data.num_test_examples == 270


def test_images_can_be_resized(digits):
    data = digits(image_size=12)
    assert data.image_shape == (12, 12, 1)
    for split in (data.train, data.test):
        assert next(iter(split))[0].shape == (64, 12, 12, 1)


def test_digits_are_never_mirrored(digits):
    # All shifts of all training images, but no mirror image of one.
    stored, _ = next(digits(augment="none", batch_size=1352).train.as_numpy_iterator())
    possible = set()
    for image in pixels(stored)[..., 0]:
        padded = np.pad(image, 1)
        possible |= {
            padded[y : y + 8, x : x + 8].tobytes() for y in range(3) for x in range(3)
        }
    images, _ = next(digits().train.as_numpy_iterator())
    assert all(image.tobytes() in possible for image in pixels(images)[..., 0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "`batch_size` must be an integer of at least 1"),
        ({"batch_size": 2.5}, "Received: 2.5"),
        ({"seed": -1}, "`seed` must be"),
        ({"start_step": -1}, "`start_step` must be"),
        ({"image_size": 0}, "`image_size` must be"),
        ({"augment": "flip"}, "one of .*'crop_flip'.*Received: 'flip'"),
        ({"train_split": "nonsense"}, "no examples in the split 'nonsense'"),
        ({"test_split": "test[:0]"}, "no examples in the split"),
    ],
)
def test_bad_arguments(digits, options, message):
    with pytest.raises(ValueError, match=message):
        digits(**options)


def test_wrong_labels_are_refused(make_builder, flat_images, tmp_path):
    make_builder({"train": flat_images([0, 1]), "test": flat_images([0, -1])})
    with pytest.raises(ValueError, match=r"outside its 3 classes .*'test'"):
        load_classification("toy", data_dir=tmp_path, batch_size=2)


def write_metadata(name, data_dir, num_examples):
    """Writes the metadata of a prepared data set, without the data.

    `num_examples` maps split names to numbers of examples.
    """
    builder = tfds.builder(name, data_dir=data_dir)
    splits = [
        tfds.core.SplitInfo(
            name=split,
            shard_lengths=[count],
            num_bytes=0,
            filename_template=tfds.core.ShardedFileTemplate(
                dataset_name=name,
                split=split,
                filetype_suffix="tfrecord",
                data_dir=builder.data_dir,
            ),
        )
        for split, count in num_examples.items()
    ]
    builder.info.set_splits(tfds.core.SplitDict(splits))
    builder.info.set_file_format("tfrecord")
    builder.data_path.mkdir(parents=True)
    builder.info.write_to_directory(builder.data_dir)


@pytest.mark.parametrize("metadata", [True, False])
def test_cifar100(tmp_path, metadata):
    if metadata:
        write_metadata("cifar100", tmp_path, {"train": 50_000, "test": 10_000})
    with tfds.testing.mock_data(num_examples=8, data_dir=tmp_path):
        data = load_classification("cifar100", data_dir=tmp_path, batch_size=4)
        images, labels = next(data.train.as_numpy_iterator())
        test = list(data.test.as_numpy_iterator())
    assert images.shape == (4, 32, 32, 3)
    assert ((labels >= 0) & (labels < 100)).all()
    assert [image.shape for image, _ in test] == [(4, 32, 32, 3)] * 2
    assert data.num_classes == 100
    assert data.num_train_examples == 8
    assert data.normalization["mean"] == [0.5071, 0.4867, 0.4408]
    assert data.normalization["std"] == [0.2675, 0.2565, 0.2761]
    restored = (
        test[0][0] * data.normalization["std"] + data.normalization["mean"]
    ) * 255
    np.testing.assert_allclose(restored, np.rint(restored), atol=1e-3)
    assert restored.min() > -0.01
    assert restored.max() < 255.01


def test_cifar100_is_cropped_and_mirrored(tmp_path):
    with tfds.testing.mock_data(num_examples=1, data_dir=tmp_path):
        data = load_classification("cifar100", data_dir=tmp_path, batch_size=64)
        images, _ = next(data.train.as_numpy_iterator())
        (image,), _ = next(data.test.as_numpy_iterator())
    black = -np.divide(data.normalization["mean"], data.normalization["std"])
    padded = np.full((40, 40, 3), black, "float32")
    padded[4:36, 4:36] = image
    mirrored, corners = 0, set()
    for crop in images:
        matches = [
            (flip, y, x)
            for flip in (1, -1)
            for y in range(9)
            for x in range(9)
            if np.abs(padded[y : y + 32, x : x + 32] - crop[:, ::flip]).max() < 1e-4
        ]
        assert len(matches) == 1
        mirrored += matches[0][0] == -1
        corners |= {matches[0][1:]}
    assert 16 < mirrored < 48
    assert len(corners) > 30


def test_imagenet(tmp_path):
    write_metadata(
        "imagenet2012", tmp_path, {"train": 1000, "validation": 100, "test": 100}
    )
    with tfds.testing.mock_data(num_examples=6, data_dir=tmp_path):
        data = load_classification("imagenet2012", data_dir=tmp_path, batch_size=4)
        images, _ = next(data.train.as_numpy_iterator())
        test = [image.shape for image, _ in data.test]
        small = load_classification(
            "imagenet2012", data_dir=tmp_path, batch_size=4, image_size=64
        )
        with pytest.raises(ValueError, match="augment='crop' needs images of the same"):
            load_classification(
                "imagenet2012", data_dir=tmp_path, batch_size=4, augment="crop"
            )
    assert images.shape == (4, 224, 224, 3)
    assert test == [(4, 224, 224, 3), (2, 224, 224, 3)]
    assert data.num_classes == 1000
    assert data.normalization["mean"] == [0.485, 0.456, 0.406]
    assert small.image_shape == (64, 64, 3)


def test_imagenet_is_tested_on_the_split_that_has_labels(tmp_path):
    builder = tfds.builder("imagenet2012", data_dir=tmp_path)
    splits = []

    def as_dataset(self, split, **kwargs):
        splits.append(split)
        image = tf.io.encode_jpeg(tf.zeros((8, 8, 3), tf.uint8))
        example = {"image": [image], "label": tf.constant([1], tf.int64)}
        return tf.data.Dataset.from_tensor_slices(example)

    with tfds.testing.mock_data(as_dataset_fn=as_dataset, data_dir=tmp_path):
        load_classification(builder.name, data_dir=tmp_path, batch_size=1)
    assert set(splits) == {"train", "validation"}


def of_sizes(sizes):
    """Images of one color each, in the given sizes, of the class 0."""
    return [(np.full((*size, 3), i, np.uint8), 0) for i, size in enumerate(sizes)]


@pytest.fixture
def load_of_sizes(make_builder, tmp_path, monkeypatch):
    def load_of_sizes(train, test, **options):
        builder = make_builder(
            {"train": of_sizes(train), "test": of_sizes(test)},
            image=tfds.features.Image(shape=(None, None, 3)),
        )
        path = "keras_diffkd.datasets.opening.prepared_builder"
        monkeypatch.setattr(path, lambda *_: builder)
        return load_classification("toy", data_dir=tmp_path, batch_size=2, **options)

    return load_of_sizes


def test_one_size_is_kept_where_the_metadata_does_not_tell_it(load_of_sizes):
    data = load_of_sizes([(6, 5)] * 3, [(6, 5)] * 2, augment="crop")
    assert data.image_shape == (6, 5, 3)
    colors = np.concatenate([image[:, 0, 0, 0] for image, _ in data.test])
    # Neither enlarged nor cropped.
    np.testing.assert_allclose(sorted(colors), [-1, 1 / 127.5 - 1], atol=1e-6)
    assert next(iter(data.train))[0].shape == (2, 6, 5, 3)


def test_several_sizes_are_told_and_need_one(load_of_sizes):
    says = "differ in size. Received: 3 sizes: 5x6 .1 image.*--image_size"
    with pytest.raises(ValueError, match=says):
        load_of_sizes([(6, 5), (5, 6)], [(9, 9)])


def test_a_later_image_of_another_size_stops(load_of_sizes, monkeypatch):
    monkeypatch.setattr("keras_diffkd.datasets.sizes._NUM_LOOKED_AT", 1)
    data = load_of_sizes([(6, 5), (6, 5), (4, 4)], [(4, 4), (6, 5)], image_size=8)
    assert data.image_shape == (8, 8, 3)
    data = load_of_sizes([(6, 5), (6, 5), (6, 5)], [(6, 5), (4, 4), (4, 4)])
    with pytest.raises(tf.errors.InvalidArgumentError, match="of another size than"):
        list(data.test)


def test_image_and_label_are_found_without_supervised_keys(make_data_set):
    features = {
        "image": tfds.features.Image(shape=(4, 4, 3)),
        "label": tfds.features.ClassLabel(num_classes=3),
        "id": tfds.features.Scalar(np.int64),
    }
    example = {"image": np.zeros((4, 4, 3), np.uint8), "label": 2, "id": 5}
    source = ClassificationSource(make_data_set(features, {"train": [example]}))
    [(_, label)] = source.read("train").as_numpy_iterator()
    assert label == 2
