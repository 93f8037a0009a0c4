import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from keras_diffkd.datasets import load_detection, load_segmentation


@pytest.fixture
def scenes(data_dir):
    def scenes(**options):
        options = {"batch_size": 16, **options}
        return load_segmentation("digit_scenes/small", data_dir=data_dir, **options)

    return scenes


def batches(data, count):
    return [
        (image.tobytes(), mask.tobytes())
        for image, mask in data.train.take(count).as_numpy_iterator()
    ]


def test_describes_the_data_set(scenes):
    data = scenes()
    assert (data.num_train_examples, data.num_test_examples) == (64, 32)
    assert data.steps_per_epoch == 4
    assert data.num_classes == 11
    assert data.image_shape == (64, 64, 3)
    assert data.label_names == ["background", *"0123456789"]
    assert data.ignore_label == 255
    with pytest.raises(dataclasses.FrozenInstanceError):
        data.num_classes = 3


def test_training_batches(scenes):
    data = scenes()
    image, mask = data.train.element_spec
    assert (image.shape, image.dtype) == ((16, 64, 64, 3), tf.float32)
    assert (mask.shape, mask.dtype) == ((16, 64, 64), tf.int32)
    assert data.train.cardinality() == tf.data.INFINITE_CARDINALITY


def test_test_split_is_whole_in_order_and_unchanged(scenes, data_dir):
    data = scenes(batch_size=20)
    examples = list(data.test.as_numpy_iterator())
    assert [len(image) for image, _ in examples] == [20, 12]
    stored = tfds.load(
        "digit_scenes/small", split="test", data_dir=data_dir, batch_size=-1
    )
    images, masks = (np.concatenate(part) for part in zip(*examples, strict=True))
    np.testing.assert_array_equal(masks, stored["segmentation_mask"][..., 0])
    std, mean = (np.array(data.normalization[key]) for key in ("std", "mean"))
    pixels = (images * std + mean) * 255
    np.testing.assert_allclose(pixels, stored["image"], atol=1e-3)


@pytest.mark.parametrize("augment", ["none", "flip", "crop", "crop_flip"])
def test_masks_belong_to_the_boxes_of_the_same_seed(scenes, data_dir, augment):
    options = {"augment": augment, "batch_size": 16, "image_size": 96, "seed": 3}
    _, masks = next(scenes(**options).train.as_numpy_iterator())
    boxes_data = load_detection("digit_scenes/small", data_dir=data_dir, **options)
    _, objects = next(boxes_data.train.as_numpy_iterator())
    compared = 0
    for mask, boxes, labels in zip(
        masks, objects["boxes"], objects["labels"], strict=True
    ):
        for (left, top, right, bottom), label in zip(boxes, labels, strict=True):
            if label < 0:
                continue
            rows, columns = np.nonzero(
                mask[round(top) : round(bottom), round(left) : round(right)]
                == label + 1
            )
            assert rows.min() <= 1
            assert columns.min() <= 1
            assert abs(rows.max() + 1 - (bottom - top)) <= 1.5
            assert abs(columns.max() + 1 - (right - left)) <= 1.5
            compared += 1
    assert compared > 16


def test_nothing_is_ignored_where_every_image_fills_the_canvas(scenes):
    assert scenes(augment="none").ignore_label is None
    assert scenes(augment="flip", image_size=32).ignore_label is None
    data = scenes(augment="flip", image_size=(64, 96))
    assert data.ignore_label == 255
    images, masks = next(data.train.as_numpy_iterator())
    assert (masks[:, :, 64:] == 255).all()
    assert (masks[:, :, :64] < 11).all()
    black = -np.divide(data.normalization["mean"], data.normalization["std"])
    np.testing.assert_allclose(images[:, :, 64:] - black, 0, atol=1e-5)


def test_training_data_is_a_function_of_the_seed(scenes):
    data = scenes(seed=5)
    expected = batches(data, 6)
    keras.utils.set_random_seed(7)
    assert batches(scenes(seed=5), 6) == expected
    assert batches(scenes(seed=6), 1) != expected[:1]


@pytest.mark.parametrize("start_step", [3, 9])
def test_training_goes_on_at_any_step(scenes, start_step):
    expected = batches(scenes(), start_step + 2)[start_step:]
    assert batches(scenes(start_step=start_step), 2) == expected


def test_shards_are_parts_of_the_stream(scenes):
    (whole,) = (mask for _, mask in scenes().train.take(1).as_numpy_iterator())
    for index in range(2):
        shard = scenes(shard=(index, 2)).train
        _, masks = next(shard.as_numpy_iterator())
        np.testing.assert_array_equal(masks, whole[index::2])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "`batch_size` must be an integer of at least 1"),
        ({"image_size": (64,)}, "`image_size` must be"),
        ({"augment": "mixup"}, "one of .*'crop_flip'.*Received: 'mixup'"),
        ({"test_split": "nonsense"}, "no examples in the split 'nonsense'"),
    ],
)
def test_bad_arguments(scenes, options, message):
    with pytest.raises(ValueError, match=message):
        scenes(**options)


def test_data_sets_without_masks(data_dir):
    with pytest.raises(ValueError, match="'digits/1.0.0' is not a semantic segment"):
        load_segmentation("digits", data_dir=data_dir, batch_size=2)


def catalog(name, image_key, mask_key, values, tmp_path, **options):
    """Loads a data set of the catalog whose masks have columns of values."""
    splits = []

    def as_dataset(self, split, **kwargs):
        splits.append(split)
        height, width, _ = self.info.features[image_key].shape
        height, width = height or 20, width or 40
        columns = np.repeat(np.array(values, np.uint8), width // len(values))
        mask = np.tile(columns, (height, 1))[..., None]
        image = np.zeros((height, mask.shape[1], 3), np.uint8)
        return tf.data.Dataset.from_tensor_slices(
            {
                image_key: [tf.io.encode_png(image)],
                mask_key: [tf.io.encode_png(mask)],
            }
        )

    with tfds.testing.mock_data(as_dataset_fn=as_dataset, data_dir=tmp_path):
        data = load_segmentation(
            name, data_dir=tmp_path, batch_size=1, augment="none", **options
        )
        images, masks = next(data.train.as_numpy_iterator())
        list(data.test)
    assert images.shape == (1, *data.image_shape)
    return data, masks[0], set(splits)


def test_oxford_iiit_pet(tmp_path):
    data, mask, splits = catalog(
        "oxford_iiit_pet", "image", "segmentation_mask", [1, 2, 3, 1], tmp_path
    )
    assert splits == {"train", "test"}
    assert data.label_names == ["pet", "background", "border"]
    assert data.image_shape == (512, 512, 3)
    assert mask[0, ::128].tolist() == [0, 1, 2, 0]
    # 20 x 40 pixels fill the upper half.
    assert (mask[:256] < 3).all()
    assert (mask[256:] == 255).all()


def test_cityscapes(tmp_path):
    data, mask, splits = catalog(
        "cityscapes",
        "image_left",
        "segmentation_label",
        [0, 7, 8, 9, 11, 26, 33, 30],
        tmp_path,
        image_size=(64, 128),
    )
    assert splits == {"train", "validation"}
    assert data.num_classes == 19
    assert data.label_names[:2] == ["road", "sidewalk"]
    assert data.ignore_label == 255
    # The numbers of the benchmark's train ids.
    assert mask[0, 8::16].tolist() == [255, 0, 1, 255, 2, 13, 18, 255]


def test_cityscapes_with_unknown_classes(tmp_path):
    with pytest.raises(ValueError, match=r"unknown classes.*\[40\]"):
        catalog("cityscapes", "image_left", "segmentation_label", [7, 40], tmp_path)


def test_keras_takes_the_ignored_label(scenes):
    data = scenes(batch_size=4)
    _, masks = next(iter(data.train))
    logits = tf.zeros((*masks.shape, data.num_classes))
    loss = keras.losses.SparseCategoricalCrossentropy(
        from_logits=True, ignore_class=data.ignore_label
    )
    assert np.isclose(float(loss(masks, logits)), np.log(11), rtol=1e-3)
