import pytest
import tensorflow as tf

from keras_diffkd.datasets import stream


class Numbers:
    """A source of the numbers 0..count-1 that says how large its images are."""

    def __init__(self, count, image_shape=(4, 4, 3)):
        self.count, self.image_shape = count, image_shape

    def read(self, split, file_seed=None):
        numbers = tf.data.Dataset.range(self.count)
        return numbers.map(lambda number: (number, -number))


def train(source, batch_size=4, **options):
    options = {"seed": 0, "start_step": 0, "shard": None} | options
    batches = stream.train_batches(
        source,
        "train",
        source.count,
        lambda seed, example: (seed, example[0]),
        batch_size=batch_size,
        **options,
    )
    return batches.take(7).as_numpy_iterator()


def test_every_example_of_every_epoch_has_a_seed_of_its_own():
    batches = list(train(Numbers(8), seed=5))
    seeds = [tuple(seed) for batch, _ in batches for seed in batch]
    assert seeds == [(5, number) for number in range(28)]
    numbers = [number for _, batch in batches for number in batch]
    assert sorted(numbers[:8]) == sorted(numbers[8:16]) == list(range(8))


def test_large_images_of_one_size_do_not_fill_the_memory(monkeypatch):
    def numbers(height):
        source = Numbers(64, (height, 16, 3))
        return [number for _, batch in train(source) for number in batch]

    # As much as 16 images of 16 x 16.
    monkeypatch.setattr(stream, "_BUFFER_BYTES", 16 * 16 * 16)
    # The first four examples are among the first 4 + 15 of the source.
    assert max(numbers(16)[:4]) < 19
    assert numbers(16 * 16) == list(range(28))
    assert max(numbers(2)[:4]) >= 19


def test_test_batches_are_in_order():
    batches = stream.test_batches(Numbers(5), "test", lambda example: example[1], 2)
    assert [batch.tolist() for batch in batches.as_numpy_iterator()] == [
        [0, -1],
        [-2, -3],
        [-4],
    ]


@pytest.mark.parametrize("shard", [(-1, 2), (2, 2), (0, 3)])
def test_bad_shards(shard):
    with pytest.raises(ValueError, match="`shard` must be"):
        stream.check_arguments(4, 0, 0, shard)
