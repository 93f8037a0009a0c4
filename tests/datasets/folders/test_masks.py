"""Images with masks are found as users arrange them, and are what was drawn."""

import re
import shutil

import numpy as np
import pytest
from helpers.image_folders import colors
from PIL import Image

from keras_diffkd.datasets import load_segmentation
from keras_diffkd.errors import DataWarning


def mask_of(number, classes=3):
    """A mask of 12x16 with all classes, another one for each number."""
    mask = np.add.outer(np.arange(12), np.arange(16)) // 3 + number
    return (mask % classes).astype("uint8")


def write(folder, names, mask=mask_of, image_folder="images", mask_folder="masks"):
    for number, name in enumerate(names):
        image = folder / image_folder / f"{name}.jpg"
        target = folder / mask_folder / f"{name}.png"
        for path in (image, target):
            path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(colors(12, 16, seed=ord(name[0]))).save(image)
        Image.fromarray(mask(number)).save(target)
    return folder


@pytest.fixture
def load(tmp_path):
    def load(folder, **options):
        options = {"data_dir": tmp_path / "data", "batch_size": 1} | options
        return load_segmentation(folder, augment="none", **options)

    return load


def masks_of(dataset, count):
    examples = dataset.unbatch().take(count).as_numpy_iterator()
    return {mask.tobytes() for _, mask in examples}


def as_batched(*masks):
    return {np.asarray(mask, "int32").tobytes() for mask in masks}


def test_a_folder_without_splits_is_divided(tmp_path, load):
    folder = write(
        tmp_path / "set", [f"{i}" for i in range(10)], lambda i: mask_of(i % 3)
    )
    data = load(str(folder))
    assert (data.num_train_examples, data.num_test_examples) == (8, 2)
    assert (data.image_shape, data.label_names) == ((12, 16, 3), ["0", "1", "2"])
    assert data.ignore_label == 255
    found = [mask for part in (data.train.take(8), data.test) for _, mask in part]
    counts = [sum(np.array_equal(m[0], mask_of(i)) for m in found) for i in range(3)]
    assert counts == [4, 3, 3]
    assert load(folder).full_name == data.full_name


@pytest.mark.parametrize("around", [True, False])
def test_splits_names_palettes_and_ignored_pixels(tmp_path, load, around):
    def palette(number):
        mask = mask_of(number)
        mask[0, 0] = 255
        return mask

    folder = tmp_path / "set"
    for split, names in (("train", "ab"), ("val", "c")):
        parts = {
            "image_folder": f"{split}/images" if around else f"images/{split}",
            "mask_folder": f"{split}/labels" if around else f"labels/{split}",
        }
        write(folder, names, palette, **parts)
    for path in folder.rglob("*.png"):
        indices = Image.fromarray(np.asarray(Image.open(path)), mode="P")
        indices.putpalette(np.random.default_rng(0).integers(0, 256, 768).tolist())
        indices.save(path)
    (folder / "classes.txt").write_text("sky\nroad\n\ncar\nbus\n")
    data = load(folder)
    assert data.label_names == ["sky", "road", "car", "bus"]
    assert (data.num_train_examples, data.num_test_examples) == (2, 1)
    assert masks_of(data.test, 1) == as_batched(palette(0))
    assert masks_of(data.train, 2) == as_batched(palette(0), palette(1))


def test_black_and_white_masks_have_two_classes(tmp_path, load):
    folder = write(tmp_path / "set", "abcd", lambda i: mask_of(i, 2) * 255)
    with pytest.warns(DataWarning, match="255 is taken as class 1"):
        data = load(folder)
    assert data.label_names == ["background", "foreground"]
    for _, mask in data.test:
        assert set(np.unique(mask)) == {0, 1}


def test_a_mask_of_another_size_is_left_out_or_refused(tmp_path, load):
    folder = write(tmp_path / "set", "abcd")
    mask = folder / "masks" / "b.png"
    Image.fromarray(mask_of(0).T).save(mask)
    said = f"1 of 4 images .*b.jpg: its mask {mask} is 16x12, but the image is 12x16"
    with pytest.warns(DataWarning, match=said):
        assert load(folder).num_train_examples == 2
    with pytest.raises(ValueError, match=said):
        load(folder, bad_images="refuse")


def spoil_mask(save):
    def spoil(folder):
        for path in (folder / "masks").iterdir():
            save(path)

    return spoil


def replace_mask(change):
    return spoil_mask(
        lambda path: Image.fromarray(change(np.asarray(Image.open(path)))).save(path)
    )


def in_jpeg(path):
    Image.open(path).save(path, "JPEG")


SPOILED = {
    "no masks": (
        lambda f: shutil.rmtree(f / "masks"),
        "must have the folders 'images'",
    ),
    "a mask less": (
        lambda f: (f / "masks" / "a.png").unlink(),
        "1 images in .* have no mask of the same name in .*/a.jpg",
    ),
    "two masks": (
        lambda f: shutil.copy(f / "masks" / "a.png", f / "masks" / "a.bmp"),
        "a.bmp and .*a.png are masks of one image",
    ),
    "two images": (
        lambda f: shutil.copy(f / "images" / "a.jpg", f / "images" / "a.png"),
        "a.jpg and .*a.png have the same mask",
    ),
    "JPEG": (spoil_mask(in_jpeg), "mask .*/a.png is a JPEG, which changes class"),
    "no masks in files": (
        spoil_mask(lambda path: path.write_bytes(b"")),
        "its mask .*/a.png is damaged",
    ),
    "colors": (
        replace_mask(lambda mask: np.stack([mask] * 3, -1)),
        "its mask .*/a.png must have class numbers .*mode RGB",
    ),
    "gray levels": (
        replace_mask(lambda mask: mask * 100),
        "must have class numbers from 0 on. Received pixels: .0, 100, 200.",
    ),
    "one class": (replace_mask(lambda mask: mask * 0), "Received pixels: .0."),
    "all ignored": (replace_mask(lambda mask: mask * 0 + 255), "Received pixels: .."),
    "a name less": (
        lambda f: (f / "classes.txt").write_text("a\nb\n"),
        "mask .*/a.png has pixels of 2, but classes.txt names 2 classes",
    ),
    "a name twice": (
        lambda f: (f / "classes.txt").write_text("a\nb\na\n"),
        "classes.txt must have the names of 2 to 255 classes.*3 names, 2 different",
    ),
    "a split of images alone": (
        lambda f: [
            (f / "images" / "train").mkdir(),
            (f / "images" / "test").mkdir(),
        ],
        "must have the same splits. Received: .'train', 'test'. and none",
    ),
}


@pytest.mark.parametrize("name", SPOILED)
def test_what_is_wrong_is_named(tmp_path, load, name):
    spoil, says = SPOILED[name]
    folder = write(tmp_path / "set", "abcd")
    spoil(folder)
    with pytest.raises(ValueError, match=says) as error:
        load(folder)
    assert re.search(re.escape(str(folder)), str(error.value))
