import itertools

import numpy as np
import pytest

from keras_diffkd.datasets import classification, load_classification


@pytest.fixture
def digits(data_dir):
    def digits(**options):
        options = {"batch_size": 64, "views": 2, "seed": 5} | options
        return load_classification("digits", data_dir=data_dir, **options)

    return digits


def by_number(batches):
    """Returns a dict from the number of a view to its image."""
    return {
        int(number): image.tobytes()
        for numbers, images, _ in batches.as_numpy_iterator()
        for number, image in zip(numbers, images, strict=True)
    }


def test_every_image_has_its_views_in_turn(digits):
    views = digits(batch_size=338).views
    epochs = [by_number(views.numbered_train().skip(4 * i).take(4)) for i in range(3)]
    assert len(views) == 2704
    assert sorted(epochs[0]) == list(range(1352))
    assert sorted(epochs[1]) == list(range(1352, 2704))
    # The third epoch has the first view again, in another order.
    assert epochs[2] == epochs[0]
    assert list(epochs[2]) != list(epochs[0])
    shifted = [epochs[0][n] != epochs[1][1352 + n] for n in range(1352)]
    assert np.mean(shifted) > 0.8


def test_all_readings_agree_on_the_image_of_a_number(digits):
    views = digits().views
    in_order = by_number(views.in_order())
    assert list(in_order) == list(range(2704))
    assert by_number(views.in_order(first=2000)).items() <= in_order.items()
    trained = by_number(views.numbered_train().take(42))
    assert len(trained) == 42 * 64
    assert trained.items() <= in_order.items()


def test_views_depend_on_their_seed_and_the_order_on_the_other(digits):
    first = by_number(digits(view_seed=1).views.numbered_train().take(2))
    again = by_number(digits(view_seed=1, seed=6).views.numbered_train().take(21))
    assert list(first) != list(again)[: len(first)]
    both = first.keys() & again.keys()
    assert len(both) > 64
    assert all(first[number] == again[number] for number in both)
    other = by_number(digits(view_seed=2).views.numbered_train().take(2))
    assert np.mean([first[n] != other[n] for n in first]) > 0.5
    # By default, one seed determines both.
    assert digits().views.description["view_seed"] == 5


def test_batches_are_those_of_fit_and_resume_and_shard(digits):
    whole = list(digits().views.numbered_train().take(30).as_numpy_iterator())
    plain = list(digits().train.take(2).as_numpy_iterator())
    for (_, *numbered), batch in zip(whole[:2], plain, strict=True):
        for ours, theirs in zip(numbered, batch, strict=True):
            np.testing.assert_array_equal(ours, theirs)
    resumed = digits(start_step=29).views.numbered_train()
    for ours, theirs in zip(next(resumed.as_numpy_iterator()), whole[29], strict=True):
        np.testing.assert_array_equal(ours, theirs)
    shards = [
        next(digits(shard=(i, 2)).views.numbered_train().as_numpy_iterator())[0]
        for i in (0, 1)
    ]
    np.testing.assert_array_equal(np.stack(shards, 1).ravel(), whole[0][0])


def test_without_views_nothing_has_changed(digits):
    data = digits(views=None)
    assert data.views is None
    seen = {image.tobytes() for image, _ in data.train.take(64).as_numpy_iterator()}
    assert len(seen) == 64


def test_a_subset_has_its_own_numbers(digits):
    data = digits(examples_per_class=5, batch_size=50)
    assert sorted(by_number(data.views.numbered_train().take(1))) == list(range(50))
    assert data.views.description["examples_per_class"] == 5
    assert data.views.description["subset_seed"] == 5


@pytest.mark.parametrize("split", ["train", "train[3:13]", "train[:4]+train[10:]"])
def test_files_are_shuffled_and_the_numbers_stay(make_builder, flat_images, split):
    """Without a shuffle buffer, only the files are in another order."""
    builder = make_builder({"train": flat_images([0, 1] * 10)}, num_shards=5)
    source = classification.ClassificationSource(builder)

    def read(file_seed):
        examples = source.read_numbered(split, file_seed).as_numpy_iterator()
        return [(number, *example) for number, example in examples]

    in_order = read(None)
    assert [number for number, *_ in in_order] == list(range(len(in_order)))
    shuffled = read(3)
    assert sorted(shuffled) == in_order
    assert read(3) == shuffled
    if split == "train":
        assert len({tuple(read(seed)) for seed in range(4)}) > 1


@pytest.mark.parametrize(
    ("name", "value"),
    itertools.product(("views", "view_seed"), (-1, 1.5, "2")),
)
def test_refuses_what_are_no_views(digits, name, value):
    with pytest.raises(ValueError, match=f"`{name}` must be an integer"):
        digits(**{name: value})
