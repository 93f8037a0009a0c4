import pytest

from keras_diffkd.datasets.canvas import canvas_size


@pytest.mark.parametrize(
    ("image_size", "shape", "expected"),
    [
        (None, (64, 48, 3), (64, 48)),
        (None, (None, None, 3), (512, 512)),
        (32, (64, 48, 3), (32, 32)),
        ((32, 64), (None, None, 3), (32, 64)),
        ([32, 64], (None, None, 3), (32, 64)),
    ],
)
def test_sizes(image_size, shape, expected):
    assert canvas_size(image_size, shape) == expected


@pytest.mark.parametrize("image_size", [0, 2.5, (32,), (32, 0), (1, 2, 3), "64"])
def test_bad_sizes(image_size):
    with pytest.raises(ValueError, match="`image_size` must be"):
        canvas_size(image_size, (64, 64, 3))
