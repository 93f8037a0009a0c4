import numpy as np
import pytest
from helpers.idx_files import write_idx_folder

from keras_diffkd.datasets import load_classification


@pytest.fixture
def arrays(rng):
    return rng.integers(0, 256, (30, 6, 5)), rng.integers(0, 256, (9, 6, 5))


@pytest.fixture
def folder(tmp_path, arrays):
    write_idx_folder(tmp_path, *arrays, classes=3)
    return tmp_path


def test_any_folder_is_a_data_set(folder, arrays):
    data = load_classification(str(folder), batch_size=10, augment="none")
    assert (data.num_train_examples, data.num_test_examples) == (30, 9)
    assert (data.image_shape, data.num_classes) == ((6, 5, 1), 3)
    images, labels = next(iter(data.test))
    expected = (arrays[1][..., None] / 255 - 0.5) / 0.5
    np.testing.assert_allclose(images, expected, atol=1e-6)
    np.testing.assert_array_equal(labels, np.arange(9) % 3)
    # An epoch has every image once.
    seen = np.concatenate([x for x, _ in data.train.take(3).as_numpy_iterator()])
    expected = (arrays[0][..., None] / 255 - 0.5) / 0.5
    key = seen.reshape(30, -1)
    np.testing.assert_allclose(
        key[np.lexsort(key.T)],
        expected.reshape(30, -1)[np.lexsort(expected.reshape(30, -1).T)],
        atol=1e-6,
    )


def test_what_is_known_of_a_name_counts(folder):
    data = load_classification("fashion_mnist", data_dir=folder, batch_size=10)
    assert data.normalization["mean"] == [0.2860]


def test_slices_of_splits(folder):
    data = load_classification(
        folder, batch_size=4, train_split="train[:50%]", test_split="train[50%:]"
    )
    assert (data.num_train_examples, data.num_test_examples) == (15, 15)
    _, labels = next(iter(data.test))
    np.testing.assert_array_equal(labels, np.arange(15, 19) % 3)


@pytest.mark.parametrize("split", ["validation", "train[:0]", "train[", ""])
def test_wrong_splits_are_named(folder, split):
    with pytest.raises(ValueError, match="has no examples in the split"):
        load_classification(folder, batch_size=4, train_split=split)
