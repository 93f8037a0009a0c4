"""Image classification data sets of TFDS as batches for training and testing."""

import dataclasses

import tensorflow as tf

from keras_diffkd.datasets.augmentation import AUGMENTATIONS, center
from keras_diffkd.datasets.balanced_source import BalancedSource
from keras_diffkd.datasets.idx_source import IDX_NAMES, IdxSource, idx_folder
from keras_diffkd.datasets.known import CONVENTIONS, Conventions
from keras_diffkd.datasets.normalization import Normalization
from keras_diffkd.datasets.preparation import prepared_builder
from keras_diffkd.datasets.source import ClassificationSource
from keras_diffkd.datasets.stream import (
    check_arguments,
    check_integer,
    test_batches,
    train_batches,
)


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
    examples_per_class=None,
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
        name: `digits`, a name of the TFDS catalogue with an image and one class
            label, for example "cifar100" or "imagenet2012", or a folder of the four
            IDX files of MNIST's format.
        data_dir: Folder of prepared data sets. Defaults to that of TFDS. For "mnist",
            "fashion_mnist", "kmnist" and "emnist" a folder of IDX files, too.
        batch_size: Integer, the global batch size.
        image_size: Integer, side of the square images. Defaults to the size of
            the data set's images, or 224 where they differ.
        train_split: A split or slice of it in the notation of TFDS, for example
            "train[:80%]".
        test_split: Like `train_split`. Defaults to "test", or to "validation"
            where there is no labelled "test".
        examples_per_class: Integer, how many training examples of each class to take
            from `train_split`, drawn by `seed`. Defaults to all examples.
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
    check_arguments(batch_size, seed, start_step, shard)
    source = open_source(name, data_dir, download)
    known = CONVENTIONS.get(source.name, Conventions())
    test_split = test_split or known.test_split or source.default_test_split()
    num_train, num_test = source.count(train_split), source.count(test_split)
    train_source = source
    if examples_per_class is not None:
        check_integer("examples_per_class", examples_per_class, 1)
        train_source = BalancedSource(source, train_split, examples_per_class, seed)
        num_train = train_source.num_examples
    channels = source.image_shape[-1]
    size = _target_size(image_size, source.image_shape)
    augmentation = _augmentation(augment or known.augment, source.image_shape)
    normalize = Normalization.of(known, channels)

    def training_example(seeds, example):
        image, label = example
        image = augmentation(source.decode(image), size, seeds)
        return normalize(image), source.check_label(label)

    def test_example(example):
        image, label = example
        image = center(source.decode(image), size)
        return normalize(image), source.check_label(label)

    return ClassificationData(
        train=train_batches(
            train_source,
            train_split,
            num_train,
            training_example,
            batch_size=batch_size,
            seed=seed,
            start_step=start_step,
            shard=shard,
        ),
        test=test_batches(source, test_split, test_example, batch_size),
        steps_per_epoch=max(1, num_train // batch_size),
        num_train_examples=num_train,
        num_test_examples=num_test,
        num_classes=source.num_classes,
        image_shape=(*size, channels),
        label_names=source.label_names,
        normalization=normalize.as_dict(),
    )


def open_source(name, data_dir=None, download=False):
    """Returns the source of a folder of IDX files, or of a prepared TFDS data set.

    Arguments and errors as in `load_classification`.
    """
    folder = idx_folder(name, data_dir)
    if folder is not None:
        return IdxSource(folder, name if name in IDX_NAMES else None)
    return ClassificationSource(prepared_builder(name, data_dir, download))


def _target_size(image_size, image_shape):
    if image_size is None:
        return (224, 224) if image_shape[0] is None else image_shape[:2]
    check_integer("image_size", image_size, 1)
    return (image_size, image_size)


def _augmentation(name, image_shape):
    photographs = image_shape[0] is None
    name = name or ("random_resized_crop" if photographs else "crop")
    if not isinstance(name, str) or name not in AUGMENTATIONS:
        raise ValueError(
            f"`augment` must be one of {sorted(AUGMENTATIONS)}. Received: {name!r}."
        )
    if photographs and name.startswith("crop"):
        raise ValueError(
            f"augment={name!r} needs images of one size, and this data set has many. "
            "Use 'random_resized_crop' or 'none'."
        )
    return AUGMENTATIONS[name]
