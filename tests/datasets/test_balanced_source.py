import numpy as np
import pytest

from keras_diffkd.datasets import load_classification
from keras_diffkd.datasets.balanced_source import BalancedSource
from keras_diffkd.datasets.classification import open_source


def labels_of(data, count):
    batches = data.train.take(count).as_numpy_iterator()
    return np.concatenate([labels for _, labels in batches])


def test_each_class_has_as_many_examples(data_dir):
    data = load_classification(
        "digits", data_dir=data_dir, batch_size=10, examples_per_class=4
    )
    assert (data.num_train_examples, data.steps_per_epoch) == (40, 4)
    for labels in np.split(labels_of(data, 8), 2):
        np.testing.assert_array_equal(np.bincount(labels), np.full(10, 4))
    # The test split is whole.
    assert data.num_test_examples == 445


def test_the_seed_draws_the_examples(data_dir):
    source, _ = open_source("digits", data_dir)

    def drawn(seed, file_seed=None):
        subset = BalancedSource(source, "train", 3, seed)
        images = [source.decode(image) for image, _ in subset.read("train", file_seed)]
        return np.stack(images)

    np.testing.assert_array_equal(drawn(0), drawn(0, file_seed=7))
    assert (drawn(0) != drawn(1)).any()


def test_a_resumed_training_goes_on_with_the_same_batches(data_dir):
    def batches(start_step):
        return load_classification(
            "digits",
            data_dir=data_dir,
            batch_size=8,
            examples_per_class=2,
            start_step=start_step,
        ).train.as_numpy_iterator()

    whole, resumed = batches(0), batches(3)
    for _ in range(3):
        next(whole)
    np.testing.assert_array_equal(next(whole)[0], next(resumed)[0])


def test_too_few_examples_of_a_class(data_dir):
    with pytest.raises(ValueError, match="at least 10000 examples of each class"):
        load_classification(
            "digits", data_dir=data_dir, batch_size=8, examples_per_class=10_000
        )
    with pytest.raises(ValueError, match="`examples_per_class` must be an integer"):
        load_classification(
            "digits", data_dir=data_dir, batch_size=8, examples_per_class=0
        )
