import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from keras_diffkd.datasets import DigitScenes
from keras_diffkd.datasets.digit_scenes import enlarge
from keras_diffkd.datasets.digits import source_digits


def read(folder, config="small"):
    builder = tfds.builder(f"digit_scenes/{config}", data_dir=folder)
    builder.download_and_prepare()
    return {
        name: list(builder.as_dataset(split=name).as_numpy_iterator())
        for name in ("train", "test")
    }


@pytest.fixture(scope="module")
def splits(data_dir):
    return read(data_dir)


@pytest.fixture(scope="module")
def scenes(splits):
    return splits["train"] + splits["test"]


def pixel_boxes(scene):
    return np.rint(scene["objects"]["bbox"] * 64).astype(int)


def test_is_registered_with_tfds():
    assert tfds.builder_cls("digit_scenes") is DigitScenes
    configs = DigitScenes.builder_configs
    assert (configs["default"].num_train, configs["default"].num_test) == (4000, 512)


def test_scenes_have_one_to_three_digits(splits, scenes):
    assert [len(split) for split in splits.values()] == [64, 32]
    counts = [len(scene["objects"]["label"]) for scene in scenes]
    assert set(counts) == {1, 2, 3}
    labels = np.concatenate([scene["objects"]["label"] for scene in scenes])
    assert set(labels) == set(range(10))
    for scene in scenes:
        assert scene["image"].shape == (64, 64, 3)
        assert scene["segmentation_mask"].shape == (64, 64, 1)


def test_boxes_are_the_bounds_of_the_mask(scenes):
    for scene in scenes:
        mask = scene["segmentation_mask"][..., 0].copy()
        labels = scene["objects"]["label"]
        for (top, left, bottom, right), label in zip(
            pixel_boxes(scene), labels, strict=True
        ):
            inside = mask[top:bottom, left:right]
            assert set(np.unique(inside)) <= {0, label + 1}
            for edge in (inside[0], inside[-1], inside[:, 0], inside[:, -1]):
                assert edge.any()
            inside[:] = 0
        assert not mask.any()


def test_ink_is_bright_and_the_ground_is_dark(scenes):
    for scene in scenes:
        ink = scene["segmentation_mask"][..., 0] > 0
        brightness = scene["image"].max(-1)
        assert brightness[ink].mean() > 2 * brightness[~ink].mean()
        assert len(np.unique(scene["image"][~ink])) > 20


def test_digits_of_train_and_test_are_disjoint(splits):
    shapes = {
        test: {
            (enlarge(image, scale) >= 96).tobytes()
            for _, image, _ in source_digits(test)
            for scale in (3, 4)
        }
        for test in (False, True)
    }
    for name, own in (("train", False), ("test", True)):
        for scene in splits[name]:
            mask = np.pad(scene["segmentation_mask"][..., 0], 32) > 0
            for top, left, bottom, right in pixel_boxes(scene):
                alone = np.zeros_like(mask)
                box = np.s_[top + 32 : bottom + 32, left + 32 : right + 32]
                alone[box] = mask[box]
                # Where in its square of 24 or 32 pixels the ink lay is not stored.
                windows = {
                    alone[y : y + side, x : x + side].tobytes()
                    for side in (24, 32)
                    for y in range(bottom + 32 - side, top + 33)
                    for x in range(right + 32 - side, left + 33)
                }
                assert windows & shapes[own]
                assert not windows & (shapes[not own] - shapes[own])


def test_are_the_same_on_every_machine(splits, tmp_path):
    again = read(tmp_path)
    for name, scenes in splits.items():
        for scene, other in zip(scenes, again[name], strict=True):
            np.testing.assert_array_equal(scene["image"], other["image"])
            np.testing.assert_array_equal(
                scene["objects"]["bbox"], other["objects"]["bbox"]
            )
    total = sum(int(scene["image"].sum()) for scene in splits["test"])
    assert total == 16_361_005


def test_large_scenes_have_more_digits():
    config = DigitScenes.builder_configs["large"]
    assert (config.size, config.max_digits) == (128, 8)


def test_enlarging_is_bilinear(rng):
    image = rng.integers(0, 256, (8, 8), np.uint8)
    for scale in (3, 4):
        expected = tf.image.resize(image[..., None], (8 * scale, 8 * scale))[..., 0]
        # Rounded down.
        difference = expected.numpy() - enlarge(image, scale)
        assert difference.min() > -1e-3
        assert difference.max() < 1 + 1e-3
