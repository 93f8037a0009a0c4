"""Image classification data sets of TFDS as batches for training and testing."""

import dataclasses

import tensorflow as tf

from keras_diffkd.datasets.augmentation import AUGMENTATIONS, center
from keras_diffkd.datasets.known import CONVENTIONS, Conventions
from keras_diffkd.datasets.preparation import prepared_builder
from keras_diffkd.datasets.source import ClassificationSource

# Encoded images in the shuffle buffer: the whole of a usual data set of small
# images, or about 2 GB of photographs.
_BUFFER_SMALL_IMAGES = 100_000
_BUFFER_PHOTOGRAPHS = 16_384


@dataclasses.dataclass(frozen=True)
class ClassificationData:
    """An image classification data set, ready for `fit` and `evaluate`.

    Attributes:
        train: Infinite `tf.data.Dataset` of `(image, label)`: float32
            `(batch_size, height, width, channels)`, normalised and augmented,
            and int64 `(batch_size,)`. Shuffled; every iteration over it starts
            at the same first batch and gives the same batches.
        test: Finite dataset of the same, not augmented, in the order of the data
            set; the last batch may be smaller.
        steps_per_epoch: Integer, whole batches in the training split, at least 1.
        num_train_examples: Integer.
        num_test_examples: Integer.
        num_classes: Integer.
        image_shape: `(height, width, channels)`.
        label_names: List of strings, one per class.
        normalization: `{"mean": [...], "std": [...], "input_range": [0, 255]}`,
            per channel: `image = (pixel / 255 - mean) / std`.
    """

    train: tf.data.Dataset
    test: tf.data.Dataset
    steps_per_epoch: int
    num_train_examples: int
    num_test_examples: int
    num_classes: int
    image_shape: tuple
    label_names: list
    normalization: dict


def load_classification(
    name,
    *,
    data_dir=None,
    batch_size,
    image_size=None,
    train_split="train",
    test_split=None,
    augment=None,
    seed=0,
    start_step=0,
    shard=None,
    download=False,
):
    """Loads an image classification data set of TFDS.

    Every data set goes through the same steps: decode, augment (training), resize,
    normalise, batch, prefetch. What differs is looked up: the keys of image and
    label, the shapes and the classes in the data set's own metadata; mean,
    standard deviation, augmentation and test split in `known.py`, for the data
    sets whose literature agrees on them (mean and standard deviation of other
    data sets are 0.5).

    The training data is a pure function of `seed` and of the number of the batch.

    Args:
        name: `digits`, or a name of the TFDS catalogue with an image and one
            class label, for example "cifar100" or "imagenet2012".
        data_dir: Folder of prepared data sets. Defaults to that of TFDS.
        batch_size: Integer, the global batch size.
        image_size: Integer, side of the square images. Defaults to the size of
            the data set's images, or 224 where they differ.
        train_split: A split or slice of it in the notation of TFDS, for example
            "train[:80%]".
        test_split: Like `train_split`. Defaults to "test", or to "validation"
            where there is no labelled "test".
        augment: "crop" (shifts by up to an eighth of the size), "crop_flip",
            "random_resized_crop" (with flips), or "none". Defaults to what the
            literature does with the data set; otherwise to "crop" for images of
            one size and "random_resized_crop" for images of many sizes.
        seed: Non-negative integer for order and augmentation.
        start_step: Integer, the number of the first training batch: a training
            that is resumed goes on where it was, without decoding what it skips.
        shard: `None`, or `(index, count)` of a worker: its `train` has batches of
            `batch_size // count`, and those of all workers together are the batches
            without sharding. `test` is whole.
        download: Whether TFDS may download the data set. `digits` never needs it.

    Returns:
        A `ClassificationData`.

    Raises:
        ValueError: If the data set or split is unknown, not prepared, empty or has
            no image and class label; if an argument is out of its range; or if
            one of the first 4096 labels of a split is outside the classes. A
            later such label raises `tf.errors.InvalidArgumentError` when its
            batch is read.

    Example:

    >>> data = load_classification("digits", data_dir="/tmp/data", batch_size=64)
    >>> data.image_shape, data.num_classes, data.num_test_examples
    ((8, 8, 1), 10, 445)
    >>> images, labels = next(iter(data.train))
    >>> images.shape
    TensorShape([64, 8, 8, 1])
    """
    _check_integer("batch_size", batch_size, 1)
    _check_integer("seed", seed, 0)
    _check_integer("start_step", start_step, 0)
    _check_shard(shard, batch_size)
    builder = prepared_builder(name, data_dir, download)
    source = ClassificationSource(builder)
    known = CONVENTIONS.get(builder.name, Conventions())
    test_split = test_split or known.test_split or source.default_test_split()
    num_train, num_test = source.count(train_split), source.count(test_split)
    channels = source.image_shape[-1]
    size = _target_size(image_size, source.image_shape)
    augmentation = _augmentation(augment or known.augment, source.image_shape)
    mean, std = known.mean or (0.5,) * channels, known.std or (0.5,) * channels

    def training_example(index, example):
        seeds = tf.stack([tf.constant(seed, tf.int64), index])
        image = augmentation(source.decode(example[0]), size, seeds)
        return (image / 255.0 - mean) / std, source.check_label(example[1])

    def test_example(image, label):
        image = center(source.decode(image), size)
        return (image / 255.0 - mean) / std, source.check_label(label)

    examples = _shuffled_epochs(
        source, train_split, num_train, seed, first=start_step * batch_size
    )
    index, count = shard or (0, 1)
    # Before decoding: what other workers train on costs this one nothing.
    examples = examples.shard(count, index)
    train = examples.map(training_example, tf.data.AUTOTUNE)
    test = source.read(test_split).map(test_example, tf.data.AUTOTUNE)
    return ClassificationData(
        train=_batches(train, batch_size // count, infinite=True),
        test=_batches(test, batch_size, infinite=False),
        steps_per_epoch=max(1, num_train // batch_size),
        num_train_examples=num_train,
        num_test_examples=num_test,
        num_classes=source.num_classes,
        image_shape=(*size, channels),
        label_names=source.label_names,
        normalization={
            "mean": list(mean),
            "std": list(std),
            "input_range": [0, 255],
        },
    )


def _shuffled_epochs(source, split, num_examples, seed, first):
    """Returns the endless stream of (index, example), from index `first` on.

    Each epoch's order comes from its own number, not from a state that an earlier
    epoch left behind, so that whole epochs can be left out.
    """
    photographs = source.image_shape[0] is None
    limit = _BUFFER_PHOTOGRAPHS if photographs else _BUFFER_SMALL_IMAGES
    buffer_size = min(num_examples, limit)

    @tf.autograph.experimental.do_not_convert
    def epoch(number):
        # Otherwise the global seed would decide, too. It is set for the graph of
        # this function only.
        tf.compat.v1.set_random_seed(1)
        file_seed, order_seed = tf.unstack(
            tf.random.stateless_uniform(
                [2], [seed, number], minval=None, maxval=None, dtype=tf.int64
            )
        )
        examples = source.read(split, file_seed)
        return examples.shuffle(
            buffer_size, seed=order_seed, reshuffle_each_iteration=False
        ).enumerate(number * num_examples)

    first_epoch, inside = divmod(first, num_examples)
    epochs = tf.data.Dataset.range(first_epoch, tf.int64.max // num_examples)
    return epochs.flat_map(epoch).skip(inside)


def _batches(examples, batch_size, infinite):
    batches = examples.batch(batch_size, drop_remainder=infinite)
    if infinite:
        batches = batches.apply(
            tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY)
        )
    options = tf.data.Options()
    options.deterministic = True
    # Workers take turns with the examples of one stream, whatever the files.
    options.experimental_distribute.auto_shard_policy = (
        tf.data.experimental.AutoShardPolicy.DATA
    )
    return batches.prefetch(tf.data.AUTOTUNE).with_options(options)


def _target_size(image_size, image_shape):
    if image_size is None:
        return (224, 224) if image_shape[0] is None else image_shape[:2]
    _check_integer("image_size", image_size, 1)
    return (image_size, image_size)


def _augmentation(name, image_shape):
    photographs = image_shape[0] is None
    name = name or ("random_resized_crop" if photographs else "crop")
    if name not in AUGMENTATIONS:
        raise ValueError(
            f"`augment` must be one of {sorted(AUGMENTATIONS)}. Received: {name!r}."
        )
    if photographs and name.startswith("crop"):
        raise ValueError(
            f"augment={name!r} needs images of one size, and this data set has many. "
            "Use 'random_resized_crop' or 'none'."
        )
    return AUGMENTATIONS[name]


def _check_shard(shard, batch_size):
    if shard is None:
        return
    index, count = shard
    if not 0 <= index < count or batch_size % count:
        raise ValueError(
            "`shard` must be (index, count) with 0 <= index < count, and `batch_size` "
            f"a multiple of count. Received: shard={shard}, batch_size={batch_size}"
        )


def _check_integer(name, value, minimum):
    if not isinstance(value, int) or value < minimum:
        raise ValueError(
            f"`{name}` must be an integer of at least {minimum}. Received: {value!r}."
        )
