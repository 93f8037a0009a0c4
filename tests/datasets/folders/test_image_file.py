"""An image file becomes what a viewer shows, or an error that says why not."""

import numpy as np
import pytest
import tensorflow as tf
from helpers.image_folders import colors
from PIL import Image

from keras_diffkd.datasets.folders.image_file import BadImageError, encoded, examine

COLORS = colors(20, 30)
GRAY = COLORS[..., 0]
BEST = {"quality": 95, "subsampling": 0}


def saved(path, image, **options):
    image.save(path, **options)
    return path


def decoded(path):
    """The pixels that a training sees."""
    file = examine(path)
    content = encoded(path, file)
    return tf.io.decode_image(content, channels=file.channels).numpy(), file


def transparent():
    """Colors on the left, and black that does not show on the right."""
    alpha = np.full((20, 30, 1), 255, np.uint8)
    alpha[:, 15:] = 0
    return Image.fromarray(np.concatenate([COLORS * (alpha > 0), alpha], -1))


ON_WHITE = np.where(np.arange(30)[:, None] < 15, COLORS, 255)
LOSSLESS = {
    "rgb.png": (Image.fromarray(COLORS), COLORS),
    "gray.png": (Image.fromarray(GRAY), GRAY[..., None]),
    "rgb.bmp": (Image.fromarray(COLORS), COLORS),
    "rgb.tif": (Image.fromarray(COLORS), COLORS),
    "alpha.png": (transparent(), ON_WHITE),
    "alpha.tiff": (transparent(), ON_WHITE),
    "one_bit.png": (
        Image.fromarray(GRAY > 99),
        np.where(GRAY > 99, 255, 0)[..., None],
    ),
    "sixteen.png": (
        Image.fromarray(GRAY.astype("uint16") * 256 + 7),
        GRAY[..., None],
    ),
}


@pytest.mark.parametrize("name", LOSSLESS)
def test_pixels_are_those_of_the_file(name, tmp_path):
    image, expected = LOSSLESS[name]
    found, file = decoded(saved(tmp_path / name, image))
    np.testing.assert_array_equal(found, expected)
    assert (file.height, file.width, file.channels) == expected.shape
    assert bool(file.changes) == (name not in ("rgb.png", "gray.png", "one_bit.png"))


def test_a_palette(tmp_path):
    image = Image.fromarray(COLORS).quantize(16)
    for path in (tmp_path / "p.png", tmp_path / "p.gif"):
        found, _ = decoded(saved(path, image))
        np.testing.assert_array_equal(found, np.asarray(image.convert("RGB")))


def test_webp_and_the_first_frame_of_an_animation(tmp_path):
    first, second = Image.fromarray(COLORS), Image.fromarray(255 - COLORS)
    frames = {"save_all": True, "append_images": [second]}
    found, _ = decoded(saved(tmp_path / "a.webp", first, lossless=True, **frames))
    np.testing.assert_array_equal(found, COLORS)
    found, file = decoded(saved(tmp_path / "a.gif", first.quantize(8), **frames))
    assert found.shape == COLORS.shape
    assert "first counts" in file.changes[0]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_an_image(orientation, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = orientation
    # What a camera that is held in that way stores, after the standard's table.
    stored = {
        1: COLORS,
        2: COLORS[:, ::-1],
        3: COLORS[::-1, ::-1],
        4: COLORS[::-1],
        5: COLORS.transpose(1, 0, 2),
        6: COLORS.transpose(1, 0, 2)[::-1],
        7: COLORS.transpose(1, 0, 2)[::-1, ::-1],
        8: COLORS.transpose(1, 0, 2)[:, ::-1],
    }[orientation]
    path = saved(tmp_path / "a.jpg", Image.fromarray(stored), exif=exif, **BEST)
    found, file = decoded(path)
    assert (file.height, file.width) == found.shape[:2] == (20, 30)
    # Turned otherwise, pixels differ by 60 on average.
    assert np.abs(found.astype(int) - COLORS).max() <= 20


def test_jpegs(tmp_path):
    path = saved(tmp_path / "a.jpg", Image.fromarray(COLORS), quality=95)
    assert encoded(path, examine(path)) == path.read_bytes()
    cmyk = Image.fromarray(COLORS).convert("CMYK")
    found, file = decoded(saved(tmp_path / "b.jpg", cmyk, quality=100))
    assert file.changes == ("in CMYK, converted to RGB",)
    assert np.abs(found.astype(int) - COLORS).mean() < 4


def test_files_that_are_not_images(tmp_path, monkeypatch):
    whole = saved(tmp_path / "a.png", Image.fromarray(COLORS)).read_bytes()
    photo = saved(tmp_path / "a.jpg", Image.fromarray(COLORS)).read_bytes()
    real = Image.fromarray(GRAY.astype("float32"))
    contents = {
        "empty": (b"", "it is empty"),
        "text": (b"<html>not found</html>", "it is not an image"),
        "cut png": (whole[: len(whole) // 2], "it is damaged: "),
        "cut jpeg": (photo[: len(photo) // 2], "it is damaged: .*[Tt]runcated"),
        "header": (whole[:20], "it is"),
        "real": (saved(tmp_path / "f.tif", real).read_bytes(), "pixels of 32 bits"),
    }
    for name, (content, says) in contents.items():
        path = tmp_path / f"{name}.png"
        path.write_bytes(content)
        with pytest.raises(BadImageError, match=says):
            examine(path)
    with pytest.raises(BadImageError, match="cannot be read: No such file"):
        examine(tmp_path / "nowhere.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 250)
    with pytest.raises(BadImageError, match="huge: more than 500 pixels"):
        examine(tmp_path / "a.png")
