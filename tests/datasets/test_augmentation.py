import numpy as np
import pytest
import tensorflow as tf

from keras_diffkd.datasets import augmentation

SEEDS = [tf.constant([3, number], tf.int64) for number in range(60)]


@pytest.fixture
def image(rng):
    return tf.constant(rng.integers(1, 256, (16, 16, 3), np.uint8))


def shifts(image, margin):
    """All crops of the zero-padded image, by their offsets."""
    padded = np.pad(image, [(margin, margin), (margin, margin), (0, 0)])
    height, width, _ = image.shape
    offsets = range(2 * margin + 1)
    return {
        padded[y : y + height, x : x + width].tobytes(): (y, x)
        for y in offsets
        for x in offsets
    }


def test_crop_shifts_by_up_to_an_eighth(image):
    possible = shifts(image.numpy(), margin=2)
    results = [augmentation.crop(image, (16, 16), seed).numpy() for seed in SEEDS]
    assert {result.dtype.name for result in results} == {"float32"}
    seen = [possible[result.astype(np.uint8).tobytes()] for result in results]
    assert len(set(seen)) > 12
    assert {y for y, _ in seen} == {x for _, x in seen} == set(range(5))


def test_crop_flip_also_mirrors_every_second_image(image):
    plain = shifts(image.numpy(), margin=2)
    mirrored = shifts(image.numpy()[:, ::-1], margin=2)
    results = [
        augmentation.crop_flip(image, (16, 16), seed).numpy().astype(np.uint8).tobytes()
        for seed in SEEDS
    ]
    assert all(result in plain or result in mirrored for result in results)
    assert 15 < sum(result in mirrored for result in results) < 45


def test_random_resized_crop_shows_parts_of_all_sizes():
    # Red grows to the right and green downwards, so colors tell the place.
    columns, rows = np.meshgrid(np.arange(0, 200), np.arange(0, 100))
    image = np.stack([columns, rows, np.zeros_like(rows)], -1).astype(np.uint8)
    widths, heights, mirrored = [], [], 0
    for seed in SEEDS:
        result = augmentation.random_resized_crop(tf.constant(image), (8, 8), seed)
        assert result.shape == (8, 8, 3)
        left_to_right = float(result[4, -1, 0] - result[4, 0, 0])
        mirrored += left_to_right < 0
        # Seven eighths of the crop lie between the centers of the outer pixels.
        widths.append(abs(left_to_right) * 8 / 7)
        heights.append(float(result[-1, 4, 1] - result[0, 4, 1]) * 8 / 7)
    area = np.multiply(widths, heights) / (100 * 200)
    ratio = np.divide(widths, heights)
    assert 0.07 < area.min() < 0.2
    assert area.max() > 0.5
    assert ratio.min() > 0.7
    assert ratio.max() < 1.4
    assert 15 < mirrored < 45


@pytest.mark.parametrize("name", sorted(augmentation.AUGMENTATIONS))
def test_is_a_function_of_image_and_seed(name, image):
    augment = augmentation.AUGMENTATIONS[name]
    results = [augment(image, (16, 16), seed).numpy() for seed in SEEDS[:8]]
    tf.random.set_seed(99)
    for seed, result in zip(SEEDS, results, strict=False):
        np.testing.assert_array_equal(augment(image, (16, 16), seed), result)
    varies = any((result != results[0]).any() for result in results)
    assert varies == (name != "none")


@pytest.mark.parametrize("name", sorted(augmentation.AUGMENTATIONS))
def test_resizes_to_the_asked_size(name, image):
    result = augmentation.AUGMENTATIONS[name](image, (24, 24), SEEDS[0])
    assert result.shape == (24, 24, 3)


def test_test_images_of_the_right_size_are_left_alone(image):
    np.testing.assert_array_equal(augmentation.center(image, (16, 16)), image)


def test_photographs_are_cropped_in_the_center():
    @tf.function(input_signature=[tf.TensorSpec((None, None, 3), tf.uint8)])
    def center(image):
        return augmentation.center(image, (56, 56))

    # Shorter side 128, so halved to 64 (8/7 of 56): 4 of 64 rows are cut away above,
    # and (96 - 56) / 2 = 20 of 96 columns on the left.
    columns, rows = np.meshgrid(np.arange(192), np.arange(128))
    image = np.stack([columns, rows, np.zeros_like(rows)], -1).astype(np.uint8)
    result = center(image)
    assert result.shape == (56, 56, 3)
    np.testing.assert_allclose(result[0, :, 0], 2 * np.arange(20, 76) + 0.5, atol=0.01)
    np.testing.assert_allclose(result[:, 0, 1], 2 * np.arange(4, 60) + 0.5, atol=0.01)
