import gzip

import numpy as np
import pytest
from helpers.idx_files import idx_bytes

from keras_diffkd.idx import balanced_subset, read_idx, read_idx_folder

NAMES = {
    ("train", "images"): "train-images-idx3-ubyte",
    ("train", "labels"): "train-labels-idx1-ubyte",
    ("test", "images"): "t10k-images-idx3-ubyte",
    ("test", "labels"): "t10k-labels-idx1-ubyte",
}


@pytest.fixture
def arrays(rng):
    sizes = {"train": 40, "test": 12}
    return {
        (split, kind): rng.integers(0, 200, (count, 5, 4))
        if kind == "images"
        else np.arange(count) % 4
        for split, count in sizes.items()
        for kind in ("images", "labels")
    }


@pytest.fixture
def folder(tmp_path, arrays):
    for key, array in arrays.items():
        (tmp_path / NAMES[key]).write_bytes(idx_bytes(array))
    return tmp_path


def check(splits, arrays):
    for split in ("train", "test"):
        images, labels = splits[split]
        assert images.dtype == np.uint8
        assert labels.dtype == np.int64
        np.testing.assert_array_equal(images, arrays[split, "images"])
        np.testing.assert_array_equal(labels, arrays[split, "labels"])


def test_reads_what_the_files_hold(folder, arrays):
    check(read_idx_folder(folder), arrays)


@pytest.mark.parametrize("prefix", ["", "emnist-letters-"])
def test_reads_gzip_and_other_names(tmp_path, arrays, prefix):
    for key, array in arrays.items():
        name = NAMES[key].replace("t10k", "test") if prefix else NAMES[key]
        path = tmp_path / f"{prefix}{name}.gz"
        path.write_bytes(gzip.compress(idx_bytes(array)))
    check(read_idx_folder(tmp_path), arrays)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "an empty file"),
        (b"\x00\x00", "not an IDX file"),
        (b"\x89PNG\r\n", "89 50 4e 47"),
        (b"\x00\x00\x0d\x01" + bytes(4), "unsigned bytes"),  # Floats.
        (b"\x00\x00\x08\x03\x00\x00", "damaged or incomplete"),
        (b"\x00\x00\x08\x01\x00\x00\x00\x05abc", "announces 5 bytes, but 3 follow"),
        (b"\x00\x00\x08\x01\x00\x00\x00\x02abc", "announces 2 bytes, but 3 follow"),
    ],
)
def test_names_a_bad_file(tmp_path, content, problem):
    path = tmp_path / "train-labels-idx1-ubyte"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=problem) as error:
        read_idx(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("damage", [lambda b: b[:-9], lambda b: b"no gzip"])
def test_names_a_damaged_archive(tmp_path, damage):
    path = tmp_path / "train-labels-idx1-ubyte.gz"
    path.write_bytes(damage(gzip.compress(idx_bytes(np.arange(9)))))
    with pytest.raises(ValueError, match="cannot be read") as error:
        read_idx(path)
    assert str(path) in str(error.value)


def test_names_a_missing_file(folder):
    (folder / NAMES["test", "labels"]).unlink()
    with pytest.raises(ValueError, match="labels of the test split. Received: none"):
        read_idx_folder(folder)


def test_refuses_two_files_of_a_kind(folder):
    name = NAMES["train", "images"]
    (folder / f"{name}.gz").write_bytes(gzip.compress((folder / name).read_bytes()))
    with pytest.raises(ValueError, match=f"{name}', '{name}.gz"):
        read_idx_folder(folder)


def test_refuses_other_numbers_of_images_and_labels(folder):
    path = folder / NAMES["train", "labels"]
    path.write_bytes(idx_bytes(np.zeros(39)))
    with pytest.raises(ValueError, match="40 images .* 39 labels"):
        read_idx_folder(folder)


def test_refuses_splits_of_other_sizes(folder):
    path = folder / NAMES["test", "images"]
    path.write_bytes(idx_bytes(np.zeros((12, 5, 5))))
    with pytest.raises(ValueError, match=r"the same size.*\(5, 4\).*\(5, 5\)"):
        read_idx_folder(folder)


def test_refuses_labels_for_images(folder):
    path = folder / NAMES["train", "images"]
    path.write_bytes(idx_bytes(np.zeros(40)))
    with pytest.raises(ValueError, match=r"must hold images .*\(40,\)"):
        read_idx_folder(folder)


def test_balanced_subset(rng):
    labels = rng.integers(0, 7, 500)
    drawn = balanced_subset(labels, per_class=20, seed=3)
    assert np.unique(drawn).size == 140
    np.testing.assert_array_equal(np.bincount(labels[drawn]), [20] * 7)
    np.testing.assert_array_equal(drawn, balanced_subset(labels, 20, seed=3))
    assert not np.array_equal(drawn, balanced_subset(labels, 20, seed=4))


def test_balanced_subset_names_the_scarce_class():
    with pytest.raises(ValueError, match="3 examples of each .* 2 of class 5"):
        balanced_subset([1, 1, 1, 5, 5], per_class=3, seed=0)
