import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from keras_diffkd.datasets import load_detection
from keras_diffkd.datasets.detection import fill


@pytest.fixture
def scenes(data_dir):
    def scenes(**options):
        options = {"batch_size": 16, **options}
        return load_detection("digit_scenes/small", data_dir=data_dir, **options)

    return scenes


@pytest.fixture
def stored(data_dir):
    def stored(split):
        data = tfds.load("digit_scenes/small", split=split, data_dir=data_dir)
        return list(data.as_numpy_iterator())

    return stored


def batches(data, count):
    return [
        (image.tobytes(), objects["boxes"].tobytes(), objects["labels"].tobytes())
        for image, objects in data.train.take(count).as_numpy_iterator()
    ]


def pixels(data, image):
    std, mean = (np.array(data.normalization[key]) for key in ("std", "mean"))
    return (image * std + mean) * 255


def test_describes_the_data_set(scenes):
    data = scenes()
    assert (data.num_train_examples, data.num_test_examples) == (64, 32)
    assert data.steps_per_epoch == 4
    assert data.num_classes == 10
    assert data.max_boxes == 3
    assert data.image_shape == (64, 64, 3)
    assert data.label_names == list("0123456789")
    assert data.bounding_box_format == "xyxy"
    assert data.normalization["input_range"] == [0, 255]
    with pytest.raises(dataclasses.FrozenInstanceError):
        data.num_classes = 3


def test_training_batches(scenes):
    data = scenes(max_boxes=5)
    image, objects = data.train.element_spec
    boxes, labels = objects["boxes"], objects["labels"]
    assert (image.shape, image.dtype) == ((16, 64, 64, 3), tf.float32)
    assert (boxes.shape, boxes.dtype) == ((16, 5, 4), tf.float32)
    assert (labels.shape, labels.dtype) == ((16, 5), tf.int32)
    assert data.train.cardinality() == tf.data.INFINITE_CARDINALITY


def test_pinned_mean_and_deviation_are_about_those_of_the_training_split(scenes):
    images, _ = next(scenes(augment="none", batch_size=64).train.as_numpy_iterator())
    assert abs(images.mean()) < 0.03
    assert abs(images.std() - 1) < 0.05


def test_test_split_is_whole_in_order_and_unchanged(scenes, stored):
    data = scenes(batch_size=20)
    examples = list(data.test.as_numpy_iterator())
    assert [len(image) for image, _ in examples] == [20, 12]
    images = np.concatenate([image for image, _ in examples])
    boxes = np.concatenate([objects["boxes"] for _, objects in examples])
    labels = np.concatenate([objects["labels"] for _, objects in examples])
    for index, scene in enumerate(stored("test")):
        np.testing.assert_allclose(
            pixels(data, images[index]), scene["image"], atol=1e-3
        )
        count = len(scene["objects"]["label"])
        expected = scene["objects"]["bbox"][:, [1, 0, 3, 2]] * 64
        np.testing.assert_allclose(boxes[index, :count], expected)
        np.testing.assert_array_equal(labels[index, :count], scene["objects"]["label"])
        assert (boxes[index, count:] == -1).all()
        assert (labels[index, count:] == -1).all()


def test_every_epoch_has_every_example_in_another_order(scenes):
    data = scenes(augment="none", batch_size=64)
    first, second = (image for image, _ in data.train.take(2).as_numpy_iterator())
    assert (first != second).any()

    def contents(images):
        return sorted(image.tobytes() for image in images)

    assert contents(first) == contents(second)


@pytest.mark.parametrize("augment", ["none", "flip", "crop", "crop_flip"])
def test_boxes_are_around_the_ink_after_augmentation(scenes, augment):
    data = scenes(augment=augment)
    images, objects = next(data.train.as_numpy_iterator())
    brightness = pixels(data, images).max(-1)
    num_boxes = 0
    for picture, boxes, labels in zip(
        brightness, objects["boxes"], objects["labels"], strict=True
    ):
        outside = np.ones((64, 64), bool)
        for left, top, right, bottom in np.rint(boxes[labels >= 0]).astype(int):
            inside = picture[top:bottom, left:right]
            assert inside.max() > 100
            # Halos reach a few pixels further than the ink.
            outside[max(0, top - 5) : bottom + 5, max(0, left - 5) : right + 5] = False
            num_boxes += 1
        # What is bright elsewhere belongs to a digit that is mostly cut off.
        assert np.median(picture[outside]) < 50
        if augment in ("none", "flip"):
            assert picture[outside].max() < 110
    assert num_boxes > 16


def test_training_data_is_a_function_of_the_seed(scenes):
    data = scenes(seed=5)
    expected = batches(data, 6)
    assert batches(data, 6) == expected
    keras.utils.set_random_seed(7)
    assert batches(scenes(seed=5), 6) == expected
    assert batches(scenes(seed=6), 1) != expected[:1]


@pytest.mark.parametrize("start_step", [3, 9])
def test_training_goes_on_at_any_step(scenes, start_step):
    expected = batches(scenes(), start_step + 2)[start_step:]
    assert batches(scenes(start_step=start_step), 2) == expected


def test_shards_are_parts_of_the_stream(scenes):
    whole = [image for image, _ in scenes().train.take(3).as_numpy_iterator()]
    shards = [
        [image for image, _ in scenes(shard=(i, 2)).train.take(3).as_numpy_iterator()]
        for i in range(2)
    ]
    for batch, *parts in zip(whole, *shards, strict=True):
        assert [len(part) for part in parts] == [8, 8]
        np.testing.assert_array_equal(batch[0::2], parts[0])
        np.testing.assert_array_equal(batch[1::2], parts[1])


def test_images_of_many_sizes_keep_their_proportions(make_scenes, tmp_path):
    picture = np.full((20, 40, 3), 200, np.uint8)
    examples = [
        (picture, [[0, 0, 1, 1], [0.5, 0.5, 1, 0.75]], [0, 2]),
        (picture[:, :10], [], []),
    ]
    make_scenes({"train": examples, "test": examples})
    data = load_detection(
        "toy", data_dir=tmp_path, batch_size=2, image_size=32, augment="none"
    )
    assert data.max_boxes == 100
    assert data.normalization["mean"] == [0.5] * 3
    images, objects = next(data.test.as_numpy_iterator())
    assert images.shape == (2, 32, 32, 3)
    # The data set's order is not that of the examples.
    wide = int(objects["labels"][0, 0] < 0)
    expected = [[0, 0, 32, 16], [16, 8, 24, 16], [-1] * 4]
    np.testing.assert_allclose(objects["boxes"][wide, :3], expected)
    assert objects["labels"][wide, :3].tolist() == [0, 2, -1]
    assert (objects["boxes"][1 - wide] == -1).all()
    assert (objects["labels"][1 - wide] == -1).all()
    shown = pixels(data, images)
    np.testing.assert_allclose(shown[wide, :16], 200, atol=0.01)
    np.testing.assert_allclose(shown[wide, 16:], 0, atol=0.01)
    np.testing.assert_allclose(shown[1 - wide, :, :16], 200, atol=0.01)
    np.testing.assert_allclose(shown[1 - wide, :, 16:], 0, atol=0.01)


@pytest.mark.parametrize(
    ("values", "expected"),
    [([], [-1, -1]), ([4], [4, -1]), ([4, 5], [4, 5]), ([4, 5, 6], [4, 5])],
)
def test_filling(values, expected):
    assert fill(tf.constant(values, tf.int32), 2).numpy().tolist() == expected


def test_more_objects_than_boxes(make_scenes, tmp_path, monkeypatch):
    picture, box = np.zeros((4, 4, 3), np.uint8), [0, 0, 1, 1]
    few, many = (picture, [box], [0]), (picture, [box] * 3, [0, 1, 2])
    make_scenes({"train": [few] * 3, "test": [few], "validation": [many]})

    def load(**options):
        options = {"batch_size": 1, "image_size": 4, "augment": "none"} | options
        return load_detection("toy", data_dir=tmp_path, **options)

    assert load(max_boxes=1).max_boxes == 1
    with pytest.raises(ValueError, match="the first images has 3.*max_boxes=2"):
        load(max_boxes=2, test_split="validation")
    with pytest.raises(ValueError, match="max_boxes=2"):
        load(max_boxes=2, train_split="validation")
    monkeypatch.setattr(
        "keras_diffkd.datasets.detection_source._NUM_EXAMPLES_CHECKED", 1
    )
    # The first example of these splits has one object only.
    data = load(
        max_boxes=2, train_split="train+validation", test_split="test+validation"
    )
    labels = [
        objects["labels"][0].tolist()
        for _, objects in data.train.take(4).as_numpy_iterator()
    ]
    assert sorted(labels) == [[0, -1]] * 3 + [[0, 1]]
    with pytest.raises(tf.errors.InvalidArgumentError, match="more objects than"):
        list(data.test)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "`batch_size` must be an integer of at least 1"),
        ({"seed": -1}, "`seed` must be"),
        ({"start_step": -1}, "`start_step` must be"),
        ({"shard": (2, 2)}, "`shard` must be"),
        ({"image_size": 0}, "`image_size` must be"),
        ({"max_boxes": 0}, "`max_boxes` must be an integer of at least 1"),
        ({"max_boxes": 2}, "`max_boxes` must be at least .* images has 3"),
        ({"augment": "mixup"}, "one of .*'crop_flip'.*Received: 'mixup'"),
        ({"train_split": "nonsense"}, "no examples in the split 'nonsense'"),
    ],
)
def test_bad_arguments(scenes, options, message):
    with pytest.raises(ValueError, match=message):
        scenes(**options)


def test_data_sets_without_boxes(data_dir):
    with pytest.raises(ValueError, match="'digits/1.0.0' is not an object detection"):
        load_detection("digits", data_dir=data_dir, batch_size=2)


@pytest.mark.parametrize(
    ("name", "split", "num_classes", "max_boxes"),
    [
        ("coco/2017", "validation", 80, 100),
        ("voc/2007", "test", 20, 64),
        ("voc/2012", "validation", 20, 64),
    ],
)
def test_data_sets_of_the_catalog(tmp_path, name, split, num_classes, max_boxes):
    splits = []

    def as_dataset(self, split, **kwargs):
        splits.append(split)
        image = tf.io.encode_jpeg(tf.fill((30, 60, 3), tf.constant(128, tf.uint8)))
        objects = {
            "bbox": [[[0.0, 0.0, 1.0, 0.5], [0.0, 0.0, 1.0, 1.0]]],
            "label": tf.constant([[7, 3]], tf.int64),
        }
        if "coco" in name:
            objects["is_crowd"] = [[False, True]]
        return tf.data.Dataset.from_tensor_slices(
            {"image": [image], "objects": objects}
        )

    with tfds.testing.mock_data(as_dataset_fn=as_dataset, data_dir=tmp_path):
        data = load_detection(name, data_dir=tmp_path, batch_size=2, image_size=64)
        images, objects = next(data.train.as_numpy_iterator())
        list(data.test)
    assert set(splits) == {"train", split}
    assert data.num_classes == num_classes
    assert data.max_boxes == max_boxes
    assert data.normalization["mean"] == [0.485, 0.456, 0.406]
    assert images.shape == (2, 64, 64, 3)
    assert objects["boxes"].shape == (2, max_boxes, 4)
    count = 1 if "coco" in name else 2
    assert (objects["labels"][:, :count] == [7, 3][:count]).all()
    assert (objects["labels"][:, count:] == -1).all()
    for box in objects["boxes"][:, 0].tolist():
        assert box in ([0, 0, 32, 32], [32, 0, 64, 32])


def test_kerashub_detectors_take_the_batches(scenes):
    hub = pytest.importorskip("keras_hub")
    encoder = hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[3],
        stackwise_num_filters=[64, 64, 64],
        stackwise_num_blocks=[1, 1, 1],
        stackwise_num_strides=[1, 2, 2],
        block_type="basic_block",
        image_shape=(64, 64, 3),
    )
    pyramid = hub.models.RetinaNetBackbone(
        encoder, min_level=3, max_level=4, use_p5=False
    )
    anchors = hub.layers.AnchorGenerator(
        "xyxy", 3, 4, num_scales=3, aspect_ratios=[1.0, 2.0], anchor_size=3
    )
    data = scenes(max_boxes=5, batch_size=4)
    detector = hub.models.RetinaNetObjectDetector(
        pyramid,
        num_classes=data.num_classes,
        bounding_box_format=data.bounding_box_format,
        anchor_generator=anchors,
    )
    detector.compile(optimizer="sgd")
    images, objects = next(iter(data.train))
    _, classes = detector.label_encoder(images, objects["boxes"], objects["labels"])
    for found, wanted in zip(classes.numpy(), objects["labels"].numpy(), strict=True):
        assert set(found[found >= 0]) == set(wanted[wanted >= 0])
    loss = detector.compute_loss(images, objects, detector(images), None)
    assert 0 < float(loss) < np.inf
