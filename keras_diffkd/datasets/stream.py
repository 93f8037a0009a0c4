"""Makes batches from the examples of a source, in the same way for all tasks."""

import tensorflow as tf

# Number of encoded images in the shuffle buffer: usually all of a data set with small
# images, or about 2 GB of photographs.
_BUFFER_SMALL_IMAGES = 100_000
_BUFFER_PHOTOGRAPHS = 16_384
_BUFFER_BYTES = 2**31


def train_batches(
    source,
    split,
    num_examples,
    prepare,
    *,
    batch_size,
    seed,
    start_step,
    shard,
    views=None,
    view_seed=None,
):
    """Returns an infinite dataset of training batches.

    Each batch depends only on `seed` and the number of the batch.

    Args:
        source: A `TfdsSource`.
        split: Split or slice of one.
        num_examples: Integer, the number of examples in `split`.
        prepare: Callable that receives a seed (int64 tensor of shape `(2,)`, different
            for each example of each epoch) and an example of `source.read`. With
            `views`, the seed is `view_seed` and the number of the view.
        batch_size: Integer, the global batch size.
        seed: Non-negative integer.
        start_step: Integer, the number of the first batch.
        shard: `None`, or `(index, count)` of a worker.
        views: Integer, the number of fixed views of an example, which take turns over
            the epochs. `None` stands for a new view in each epoch.
        view_seed: Non-negative integer, for `views`.
    """
    examples = _shuffled_epochs(
        source, split, num_examples, seed, start_step * batch_size, views
    )
    first_seed = seed if views is None else view_seed
    index, count = shard or (0, 1)
    # Sharding precedes decoding, so that a worker decodes only its own examples.
    examples = examples.shard(count, index)
    examples = examples.map(_seeded(prepare, first_seed), tf.data.AUTOTUNE)
    return _batches(examples, batch_size // count, infinite=True)


def test_batches(source, split, prepare, batch_size):
    """Returns the batches of a split, in order. The last one may be smaller."""
    examples = source.read(split).map(
        lambda *example: prepare(example), tf.data.AUTOTUNE
    )
    return _batches(examples, batch_size, infinite=False)


def views_in_order(
    source, split, num_examples, prepare, *, batch_size, views, view_seed, first
):
    """Returns batches of all views, from number `first` on. The last may be smaller.

    The arguments are those of `train_batches`. The order is that of the numbers: the
    first view of each example, then the second.
    """

    @tf.autograph.experimental.do_not_convert
    def examples_of(view):
        return source.read_numbered(split).map(_numbered_view(view, num_examples))

    examples = tf.data.Dataset.range(views).flat_map(examples_of)
    examples = examples.skip(first).map(_seeded(prepare, view_seed), tf.data.AUTOTUNE)
    return _batches(examples, batch_size, infinite=False)


def _seeded(prepare, seed):
    """Returns `prepare` for `(number, example)`, with the seed `(seed, number)`."""

    def prepare_seeded(number, example):
        return prepare(tf.stack([tf.constant(seed, tf.int64), number]), example)

    return prepare_seeded


def _numbered_view(view, num_examples):
    """Returns a function that turns the number of an example into that of its view."""
    return lambda number, example: (view * num_examples + number, example)


def _shuffled_epochs(source, split, num_examples, seed, first, views):
    """Returns an infinite dataset of (number, example), starting at index `first`.

    The number is the index, or with `views` the number of the example's view. The order
    of an epoch depends on the number of the epoch, not on the state after earlier
    epochs, so that whole epochs can be skipped.
    """

    @tf.autograph.experimental.do_not_convert
    def epoch(number):
        # Without this, the order would also depend on the global seed. It is set only
        # for the graph of this function.
        tf.compat.v1.set_random_seed(1)
        file_seed, order_seed = tf.unstack(
            tf.random.stateless_uniform(
                [2], [seed, number], minval=None, maxval=None, dtype=tf.int64
            )
        )
        read = source.read if views is None else source.read_numbered
        examples = read(split, file_seed).shuffle(
            buffer_size(source.image_shape, num_examples),
            seed=order_seed,
            reshuffle_each_iteration=False,
        )
        if views is None:
            return examples.enumerate(number * num_examples)
        return examples.map(_numbered_view(number % views, num_examples))

    first_epoch, inside = divmod(first, num_examples)
    epochs = tf.data.Dataset.range(first_epoch, tf.int64.max // num_examples)
    return epochs.flat_map(epoch).skip(inside)


def buffer_size(image_shape, num_examples):
    """Returns the number of encoded images in the shuffle buffer.

    Args:
        image_shape: `(height, width, channels)`, with `None` for images that differ.
        num_examples: Integer, the number of examples in the split.
    """
    height, width = image_shape[:2]
    if height is None:
        return min(num_examples, _BUFFER_PHOTOGRAPHS)
    # An encoded image takes about a byte per pixel.
    limit = min(_BUFFER_SMALL_IMAGES, _BUFFER_BYTES // (height * width))
    return min(num_examples, limit)


def _batches(examples, batch_size, infinite):
    batches = examples.batch(batch_size, drop_remainder=infinite)
    if infinite:
        batches = batches.apply(
            tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY)
        )
    options = tf.data.Options()
    options.deterministic = True
    # Workers take turns with the examples of one stream, regardless of the files.
    options.experimental_distribute.auto_shard_policy = (
        tf.data.experimental.AutoShardPolicy.DATA
    )
    return batches.prefetch(tf.data.AUTOTUNE).with_options(options)


def check_arguments(batch_size, seed, start_step, shard):
    """Raises `ValueError` for the first argument that is out of range."""
    check_integer("batch_size", batch_size, 1)
    check_integer("seed", seed, 0)
    check_integer("start_step", start_step, 0)
    if shard is None:
        return
    is_pair = isinstance(shard, (tuple, list)) and [type(n) for n in shard] == [int] * 2
    index, count = shard if is_pair else (0, 0)
    if not 0 <= index < count or batch_size % count:
        raise ValueError(
            "`shard` must be (index, count) with 0 <= index < count, and `batch_size` "
            f"a multiple of count. Received: shard={shard}, batch_size={batch_size}"
        )


def check_integer(name, value, minimum):
    """Raises `ValueError` unless `value` is an integer of at least `minimum`."""
    if not isinstance(value, int) or value < minimum:
        raise ValueError(
            f"`{name}` must be an integer of at least {minimum}. Received: {value!r}."
        )
