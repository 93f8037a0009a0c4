"""A folder of images is trained on like a data set of TFDS."""

import os
import shutil

import numpy as np
import pytest
from helpers.image_folders import colors, write_digits
from PIL import Image

from keras_diffkd.datasets import load_classification
from keras_diffkd.errors import DataWarning


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """Ten classes of ten digits, and where they are prepared."""
    root = tmp_path_factory.mktemp("user")
    return write_digits(root / "digits", per_class=10), root / "data"


@pytest.fixture
def load(tmp_path):
    def load(path, **options):
        options = {"data_dir": tmp_path / "data", "batch_size": 8} | options
        return load_classification(path, **options)

    return load


def pixels(images):
    return np.rint((np.asarray(images) + 1) * 127.5).astype("uint8")


def images_of(dataset):
    pairs = [(pixels(x)[..., 0].tobytes(), int(y)) for x, y in dataset.unbatch()]
    return dict(pairs)


def files_of(folder):
    return {
        np.asarray(Image.open(path)).tobytes(): int(path.parent.name)
        for path in folder.rglob("*.png")
    }


def test_a_folder_without_splits_is_divided(digits):
    folder, data_dir = digits
    options = {"batch_size": 16, "augment": "none"}
    data = load_classification(str(folder), data_dir=data_dir, **options)
    assert (data.num_train_examples, data.num_test_examples) == (80, 20)
    assert (data.image_shape, data.num_classes) == ((8, 8, 1), 10)
    assert data.label_names == [str(digit) for digit in range(10)]
    train, test = images_of(data.train.take(5)), images_of(data.test)
    assert train | test == files_of(folder)
    assert not train.keys() & test.keys()
    np.testing.assert_array_equal(np.bincount(list(test.values())), [2] * 10)
    # The same images for each seed and from each place, and another share if wanted.
    moved = shutil.copytree(folder, data_dir.parent / "moved")
    again = load_classification(moved, data_dir=data_dir, seed=7, **options)
    assert images_of(again.test) == test
    assert again.full_name == data.full_name
    half = load_classification(moved, data_dir=data_dir, test_split="50%", **options)
    assert half.num_test_examples == 50
    assert half.full_name != data.full_name
    assert test.items() < images_of(half.test).items()
    # The user can find out which images they are.
    table = data_dir / data.full_name / "files.csv"
    rows = [row.split(",") for row in table.read_text().splitlines()]
    files = [Image.open(image) for image, split in rows if split == "test"]
    assert {np.asarray(file).tobytes() for file in files} == test.keys()


def test_training_resumes_and_is_cached_like_that_of_tfds(digits):
    folder, data_dir = digits
    options = {"data_dir": data_dir, "batch_size": 16, "views": 2}
    whole = load_classification(folder, **options)
    later = load_classification(folder, **options, start_step=7)
    expected = list(whole.train.take(9).as_numpy_iterator())[7:]
    for batch, other in zip(later.train.as_numpy_iterator(), expected, strict=False):
        np.testing.assert_array_equal(batch[0], other[0])
        np.testing.assert_array_equal(batch[1], other[1])
        if other is expected[-1]:
            break
    numbers = [n for n, *_ in whole.views.in_order().unbatch().as_numpy_iterator()]
    assert numbers == list(range(160))
    assert whole.views.description["data_set"] == whole.full_name


def test_files_are_read_once_and_again_when_they_change(digits, monkeypatch):
    folder, data_dir = digits
    first = load_classification(folder, data_dir=data_dir, batch_size=8)
    module = "keras_diffkd.datasets.folders.scan.examine"
    with monkeypatch.context() as patch:
        patch.setattr(module, lambda path: pytest.fail(f"read {path} again"))
        again = load_classification(folder, data_dir=data_dir, batch_size=8)
    assert again.full_name == first.full_name
    path = next(folder.rglob("*.png"))
    before = path.read_bytes()
    Image.fromarray(np.zeros((8, 8), "uint8")).save(path)
    try:
        changed = load_classification(folder, data_dir=data_dir, batch_size=8)
    finally:
        path.write_bytes(before)
    assert changed.full_name != first.full_name


def test_what_cannot_be_used_is_left_out_and_named_or_refused(tmp_path, load):
    folder = write_digits(tmp_path / "digits", per_class=5, classes=2)
    bad = folder / "0" / "bad.png"
    bad.write_bytes(b"no image")
    said = f"1 of 11 images cannot be used: {bad}: it is not an image"
    with pytest.raises(ValueError, match=said):
        load(folder, bad_images="refuse")
    # It is said each time, also when the files are not read again.
    for _ in range(2):
        with pytest.warns(DataWarning, match=f"{said}. They are left out"):
            data = load(folder)
    assert data.num_train_examples + data.num_test_examples == 10
    os.truncate(bad, 0)
    for path in (folder / "0").glob("*.png"):
        os.truncate(path, 0)
    with pytest.raises(ValueError, match="no usable images of the class '0'.*is empty"):
        load(folder)
    with pytest.raises(ValueError, match="`bad_images` must be one of"):
        load(folder, bad_images="ignore")


def test_training_images_among_the_test_images_are_counted(tmp_path, load):
    write_digits(tmp_path / "set" / "train", per_class=4, classes=2)
    write_digits(tmp_path / "set" / "test", per_class=1, classes=2)
    write_digits(tmp_path / "set" / "val", per_class=1, classes=1)
    with pytest.warns(
        DataWarning, match="set: 3 of 3 images for testing are training images"
    ):
        data = load(tmp_path / "set")
    assert (data.num_train_examples, data.num_test_examples) == (8, 2)
    with pytest.warns(DataWarning):
        assert load(tmp_path / "set", test_split="validation").num_test_examples == 1
    with pytest.raises(ValueError, match="has the splits .*divided already.*'20%'"):
        load(tmp_path / "set", test_split="20%")


def write_colors(folder, sizes):
    for label in ("a", "b"):
        (folder / label).mkdir(parents=True)
        for number, size in enumerate(sizes):
            image = Image.fromarray(colors(*size, seed=number + 100 * ord(label)))
            image.save(folder / label / f"{number}.png")
    return folder


def test_images_of_several_sizes_need_one(tmp_path, load):
    folder = write_colors(tmp_path / "set", [(20, 30), (20, 30), (30, 20)])
    with pytest.raises(
        ValueError, match="differ in size.*20x30 .4 im.*30x20.*--image_"
    ):
        load(folder)
    data = load(folder, image_size=16)
    assert next(iter(data.train))[0].shape == (8, 16, 16, 3)
    assert "Images of several sizes become 16x16x3" in data.description


def test_one_size_is_kept_and_described(tmp_path, load):
    data = load(write_colors(tmp_path / "set", [(20, 30)] * 5), batch_size=2)
    assert data.image_shape == (20, 30, 3)
    # A batch of float32 images is 2 * 20 * 30 * 3 * 4 bytes.
    for text in ("8 training and 2 test images of 2", "20x30x3, as stored", "14.4 kB"):
        assert text in data.description


@pytest.mark.parametrize("share", ["0%", "100%", "120.5%"])
def test_a_share_must_leave_something(tmp_path, load, share):
    folder = write_digits(tmp_path / "digits", per_class=3, classes=2)
    with pytest.raises(ValueError, match="above 0% and below 100%.*Received"):
        load(folder, test_split=share)


def test_a_full_disk_is_named(tmp_path, load, monkeypatch):
    folder = write_digits(tmp_path / "digits", per_class=3, classes=2)
    usage = type("Usage", (), {"free": 10})
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(
        ValueError, match="data: the images need .* bytes, and 10 are f"
    ):
        load(folder)


def test_images_without_labels_are_trained_on_and_not_tested_on(tmp_path, load):
    folder = write_digits(tmp_path / "digits", per_class=5, classes=2)
    others = write_digits(tmp_path / "others", per_class=2, classes=5)
    for label in ("0", "1"):
        shutil.rmtree(others / label)
    data = load(folder, unlabeled=others, batch_size=14, augment="none")
    counts = (data.num_train_examples, data.num_test_examples)
    assert (*counts, data.num_unlabeled_examples) == (8, 2, 6)
    assert data.steps_per_epoch == 1
    train, test = images_of(data.train.take(1)), images_of(data.test)
    labeled, unlabeled = files_of(folder), dict.fromkeys(files_of(others), -1)
    assert train | test == labeled | unlabeled
    assert sorted(train.values()) == [-1] * 6 + [0] * 4 + [1] * 4
    # Views for a teacher cache have numbers, and the test images are the same ones.
    viewed = load(folder, unlabeled=others, views=1, batch_size=14)
    assert len(list(viewed.views.in_order().unbatch())) == 14
    assert images_of(load(folder).test) == test
    for options, says in (
        ({"examples_per_class": 2}, "cannot be combined"),
        ({"unlabeled": tmp_path / "nowhere"}, "nowhere must be a folder"),
        ({"unlabeled": tmp_path / "data" / "image_classes"}, "has no images"),
    ):
        with pytest.raises(ValueError, match=says):
            load(folder, **{"unlabeled": others} | options)
    with pytest.raises(
        ValueError, match="`unlabeled` is for a user's folder.*'digits'"
    ):
        load("digits", unlabeled=others)


def test_gray_images_may_have_three_channels(tmp_path, load):
    folder = write_digits(tmp_path / "digits", per_class=3, classes=2)
    gray = load(folder, augment="none")
    colored = load(folder, augment="none", color_mode="rgb")
    assert (gray.image_shape, colored.image_shape) == ((8, 8, 1), (8, 8, 3))
    [(one, _)], [(three, _)] = gray.test, colored.test
    np.testing.assert_array_equal(three, np.repeat(one, 3, -1))
    with pytest.raises(ValueError, match="`color_mode` must be 'rgb', 'grayscale'"):
        load(folder, color_mode="gray")
