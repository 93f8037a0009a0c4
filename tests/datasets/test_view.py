import numpy as np
import pytest
import tensorflow as tf

from keras_diffkd.datasets import view as view_module
from keras_diffkd.datasets.view import VIEWS, View, find_view, letterbox

SEEDS = [tf.constant([3, number], tf.int64) for number in range(40)]
SHAPES = [(64, 64, 3), (50, 100, 3), (120, 70, 3)]


def rectangle(shape, box):
    """A white rectangle on black, as an image and as a mask of ones."""
    height, width, _ = shape
    top, left, bottom, right = np.rint(
        box * np.array([height, width, height, width])
    ).astype(int)
    mask = np.zeros((height, width, 1), np.uint8)
    mask[top:bottom, left:right] = 1
    exact = np.array([top / height, left / width, bottom / height, right / width])
    return tf.constant(np.tile(mask * 255, 3)), mask, exact.astype(np.float32)


def bounds(bright):
    rows, columns = (np.flatnonzero(bright.any(axis)) for axis in (1, 0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", sorted(VIEWS))
def test_boxes_and_masks_follow_the_image(name, shape):
    image, mask, box = rectangle(shape, np.array([0.1, 0.55, 0.6, 0.9]))
    compared = 0
    for seed in SEEDS[:12]:
        view = VIEWS[name](shape, (64, 64), seed)
        boxes, visible = view.show_boxes(box[None])
        shown = view.show_image(image).numpy()
        classes = view.show_mask(mask, outside=255).numpy()
        assert shown.shape == (64, 64, 3)
        assert shown.dtype == np.float32
        assert (classes.shape, classes.dtype) == ((64, 64), np.int32)
        assert (shown[classes == 255] == 0).all()
        if visible[0]:
            compared += 1
            for pixels in (shown[..., 0] > 127, classes == 1):
                assert np.abs(bounds(pixels) - boxes[0].numpy()).max() <= 1
    assert compared >= 10


@pytest.mark.parametrize(
    ("shape", "extent"),
    [((32, 32, 1), (64, 64)), ((50, 100, 1), (32, 64)), ((200, 100, 1), (64, 32))],
)
def test_letterbox_keeps_proportions_at_the_top_left(shape, extent):
    view = letterbox(shape, (64, 64))
    white = tf.constant(np.full(shape, 255, np.uint8))
    expected = np.zeros((64, 64))
    expected[: extent[0], : extent[1]] = 255
    np.testing.assert_allclose(view.show_image(white)[..., 0], expected, atol=1e-3)
    mask = view.show_mask(np.full(shape, 7, np.uint8), outside=255)
    np.testing.assert_array_equal(mask, np.where(expected, 7, 255))
    boxes, visible = view.show_boxes(np.float32([[0, 0, 1, 1], [0.5, 0.25, 1, 0.5]]))
    height, width = extent
    expected = [[0, 0, width, height], [width / 4, height / 2, width / 2, height]]
    np.testing.assert_allclose(boxes, expected)
    assert visible.numpy().all()


def test_images_of_the_right_size_are_left_alone(rng):
    image = rng.integers(0, 256, (16, 24, 3), np.uint8)
    mask = rng.integers(0, 9, (16, 24, 1), np.uint8)
    view = letterbox(image.shape, (16, 24))
    np.testing.assert_array_equal(view.show_image(tf.constant(image)), image)
    np.testing.assert_array_equal(view.show_mask(mask, 255), mask[..., 0])


def test_mirroring(rng):
    image = tf.constant(rng.integers(0, 256, (8, 8, 3), np.uint8))
    view = View((8, 8), tf.constant([8, 8]), tf.constant([0, 0]), tf.constant(True))
    np.testing.assert_array_equal(view.show_image(image), image[:, ::-1])
    boxes, _ = view.show_boxes(np.float32([[0, 0, 0.5, 0.25]]))
    np.testing.assert_array_equal(boxes, [[6, 0, 8, 4]])


def test_boxes_are_clipped_and_dropped_when_little_is_left():
    # Half of the image is beyond the left edge.
    view = View((8, 8), tf.constant([8, 8]), tf.constant([0, -4]), tf.constant(False))
    boxes, visible = view.show_boxes(
        np.float32(
            [
                [0, 0.25, 1, 0.75],  # Half is left.
                [0, 0.0, 1, 0.625],  # A fifth.
                [0, 0.0, 1, 0.25],  # Nothing.
                [0.5, 0.75, 0.5, 1],  # Had no area.
            ]
        )
    )
    np.testing.assert_array_equal(visible, [True, False, False, False])
    np.testing.assert_array_equal(boxes[0], [0, 0, 2, 8])


def test_crop_covers_its_range():
    views = [view_module.crop((64, 64), (64, 64), seed) for seed in SEEDS]
    sides = np.array([view.extent.numpy() for view in views])
    assert (sides[:, 0] == sides[:, 1]).all()
    assert 51 <= sides.min() < 55
    assert 76 < sides.max() <= 80
    for view, (side, _) in zip(views, sides, strict=True):
        offset = view.offset.numpy()
        # Smaller images are whole, larger ones leave no margin.
        assert (offset >= min(0, 64 - side)).all()
        assert (offset <= max(0, 64 - side)).all()
    assert len({tuple(view.offset.numpy()) for view in views}) > 30


@pytest.mark.parametrize(("name", "mirrors"), [("flip", True), ("crop_flip", True)])
def test_every_second_image_is_mirrored(name, mirrors):
    flags = [bool(VIEWS[name]((9, 9), (9, 9), seed).mirrored) for seed in SEEDS]
    assert 10 < sum(flags) < 30


@pytest.mark.parametrize("name", ["none", "crop"])
def test_others_never_mirror(name):
    assert not any(VIEWS[name]((9, 9), (9, 9), seed).mirrored for seed in SEEDS)


@pytest.mark.parametrize("name", sorted(VIEWS))
def test_is_a_function_of_the_seed(name):
    def numbers(seed):
        view = VIEWS[name]((50, 70), (64, 64), seed)
        parts = (view.extent, view.offset, [int(view.mirrored)])
        return np.concatenate(parts).tolist()

    results = [numbers(seed) for seed in SEEDS[:10]]
    tf.random.set_seed(99)
    assert [numbers(seed) for seed in SEEDS[:10]] == results
    assert (len(set(map(tuple, results))) > 1) == (name != "none")


def test_unknown_names():
    with pytest.raises(ValueError, match="one of .*'crop_flip'.*Received: 'mixup'"):
        find_view("mixup")
