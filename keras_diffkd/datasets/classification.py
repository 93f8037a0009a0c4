"""Loads image classification data sets as batches for training and testing."""

import dataclasses

import tensorflow as tf

from keras_diffkd.datasets.augmentation import AUGMENTATIONS, VERSION, center
from keras_diffkd.datasets.balanced_source import BalancedSource
from keras_diffkd.datasets.description import describe
from keras_diffkd.datasets.fixed_views import FixedViews, training_views
from keras_diffkd.datasets.folders.classification import (
    UNLABELED,
    open_classification,
)
from keras_diffkd.datasets.folders.paths import is_path
from keras_diffkd.datasets.idx_source import IDX_NAMES, IdxSource, idx_folder
from keras_diffkd.datasets.known import CONVENTIONS, Conventions
from keras_diffkd.datasets.normalization import Normalization
from keras_diffkd.datasets.opening import open_builder
from keras_diffkd.datasets.source import ClassificationSource
from keras_diffkd.datasets.stream import (
    check_arguments,
    check_integer,
    test_batches,
)


@dataclasses.dataclass(frozen=True)
class ClassificationData:
    """Holds an image classification data set, ready for `fit` and `evaluate`.

    Attributes:
        train: Infinite `tf.data.Dataset` of `(image, label)`: float32
            `(batch_size, height, width, channels)`, normalized and augmented, and int64
            `(batch_size,)`. It is shuffled, and each iteration over it gives the same
            batches.
        test: Finite dataset of the same form, not augmented, in the order of the data
            set. The last batch may be smaller.
        steps_per_epoch: Integer, the number of whole batches in the training split, at
            least 1.
        num_train_examples: Integer.
        num_test_examples: Integer.
        num_classes: Integer.
        image_shape: `(height, width, channels)`.
        label_names: List of strings, one per class.
        normalization: `{"mean": [...], "std": [...], "input_range": [0, 255]}`,
            per channel: `image = (pixel / 255 - mean) / std`.
        views: `FixedViews` of the training images, or `None` without `views`.
        full_name: String, the name of the data set with its version or fingerprint.
        num_unlabeled_examples: Integer, the number of images in `train` whose label is
            -1, besides `num_train_examples`.
        description: String, what the data set is and how much memory it takes.
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
    views: FixedViews | None = None
    full_name: str = ""
    num_unlabeled_examples: int = 0
    description: str = ""


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
    views=None,
    view_seed=None,
    seed=0,
    start_step=0,
    shard=None,
    download=False,
    bad_images="skip",
    unlabeled=None,
    color_mode=None,
):
    """Loads an image classification data set.

    Every data set goes through the same steps: decode, augment (training only), resize,
    normalize, batch and prefetch. The keys of image and label, the shapes and the
    classes come from the metadata of the data set. Mean, standard deviation,
    augmentation and test split come from `known.py` for the data sets whose literature
    agrees on them. For other data sets, mean and standard deviation are 0.5.

    The training data depends only on `seed` and the number of the batch.

    Args:
        name: `digits`; a name in the TFDS catalog of a data set with an image and one
            class label, for example "cifar100" or "imagenet2012"; or the path of a
            folder with a subfolder of images for each class, of a CSV file with the
            columns image and label, or of a folder with the four IDX files of MNIST's
            format. `docs/your_data.md` describes them.
        data_dir: Folder of prepared data sets. Defaults to that of TFDS. For "mnist",
            "fashion_mnist", "kmnist" and "emnist", it may be a folder of IDX files.
        batch_size: Integer, the global batch size.
        image_size: Integer, the side of the square images. Defaults to the size of the
            data set's images. If they differ in size, it is needed, except for data
            sets whose literature agrees on 224.
        train_split: A split or a slice of one in the notation of TFDS, for example
            "train[:80%]".
        test_split: Like `train_split`. Defaults to "test", or to "validation" if there
            is no labeled "test". For a user's folder or CSV file without splits, it is
            the share of each class to test on, and defaults to "20%".
        examples_per_class: Integer, the number of training examples of each class to
            take from `train_split`, drawn with `seed`. Defaults to all examples.
        augment: "crop" (shifts by up to an eighth of the size), "crop_flip",
            "random_resized_crop" (with flips), or "none". Defaults to the augmentation
            in the literature on the data set. For other data sets, the default is
            "crop" if all images have the same size, and "random_resized_crop" if not.
        views: Integer, the number of fixed augmented views of each training image. The
            epochs use them in turn, so that a teacher's outputs on them can be stored
            (see `keras_diffkd.teacher_cache`). Defaults to a new view in each epoch.
        view_seed: Non-negative integer for the augmentation with `views`. A view
            depends only on it, on the number of the image in `train_split` and on the
            number of the view. Defaults to `seed`.
        seed: Non-negative integer for order and augmentation.
        start_step: Integer, the number of the first training batch. A resumed training
            continues there without decoding the batches that it skips.
        shard: `None`, or `(index, count)` of a worker. Its `train` has batches of
            `batch_size // count`. Together, the batches of all workers are the batches
            without sharding. `test` is complete on each worker.
        download: Boolean, whether TFDS may download the data set. `digits` never needs
            a download.
        bad_images: "skip" to leave out, with a warning, the files in a user's folder
            that are not usable images, or "refuse" to stop at them.
        unlabeled: Folder of further images without labels, or `None`. They are part of
            `train`, with the label -1. For a user's folder or CSV file.
        color_mode: "rgb" for three channels, "grayscale" for one. Defaults to one if
            all images are gray. For a user's folder or CSV file.

    Returns:
        A `ClassificationData`.

    Raises:
        ValueError: If the data set or split is unknown, not prepared, empty, or does
            not have an image and a class label; if an argument is out of range; or if
            one of the first 4096 labels of a split is outside the classes; if the
            images differ in size and `image_size` is missing; or if a user's files
            cannot be used. A later label outside the classes raises
            `tf.errors.InvalidArgumentError` when its batch is read.

    Example:

    >>> data = load_classification("digits", data_dir="/tmp/data", batch_size=64)
    >>> data.image_shape, data.num_classes, data.num_test_examples
    ((8, 8, 1), 10, 445)
    >>> images, labels = next(iter(data.train))
    >>> images.shape
    TensorShape([64, 8, 8, 1])
    """
    check_arguments(batch_size, seed, start_step, shard)
    source, test_split = open_source(
        name,
        data_dir,
        download,
        image_size=image_size,
        test_split=test_split,
        bad_images=bad_images,
        unlabeled=unlabeled,
        color_mode=color_mode,
    )
    known = CONVENTIONS.get(source.name, Conventions())
    test_split = test_split or known.test_split or source.default_test_split()
    if source.name not in CONVENTIONS:
        source.settle_size((train_split, test_split), image_size)
    num_train, num_test = source.count(train_split), source.count(test_split)
    stream_split, num_unlabeled = train_split, 0
    train_source = source
    if unlabeled is not None:
        num_unlabeled = source.count_unlabeled()
        stream_split = f"{train_split}+{UNLABELED}"
    if examples_per_class is not None:
        check_integer("examples_per_class", examples_per_class, 1)
        _check_alone(unlabeled)
        train_source = BalancedSource(source, train_split, examples_per_class, seed)
        num_train = train_source.num_examples
    channels = source.image_shape[-1]
    size = _target_size(image_size, source.image_shape)
    augment = _augmentation(augment or known.augment, source.image_shape)
    augmentation = AUGMENTATIONS[augment]
    normalize = Normalization.of(known, channels)

    def training_example(seeds, example):
        image, label = example
        image = augmentation(source.decode(image), size, seeds)
        return normalize(image), source.check_label(label)

    def test_example(example):
        image, label = example
        image = center(source.decode(image), size)
        return normalize(image), source.check_label(label)

    num_stream = num_train + num_unlabeled
    train, fixed = training_views(
        train_source,
        stream_split,
        num_stream,
        prepare=training_example,
        batch_size=batch_size,
        order={"seed": seed, "start_step": start_step, "shard": shard},
        views=views,
        view_seed=view_seed,
        description={
            "data_set": source.full_name,
            "split": str(stream_split),
            "examples_per_class": examples_per_class,
            "subset_seed": None if examples_per_class is None else seed,
            "image_shape": [*size, channels],
            "normalization": normalize.as_dict(),
            "augmentation": augment,
            "augmentation_version": VERSION,
        },
    )
    return ClassificationData(
        train=train,
        test=test_batches(source, test_split, test_example, batch_size),
        steps_per_epoch=max(1, num_stream // batch_size),
        num_train_examples=num_train,
        num_test_examples=num_test,
        num_classes=source.num_classes,
        image_shape=(*size, channels),
        label_names=source.label_names,
        normalization=normalize.as_dict(),
        views=fixed,
        full_name=source.full_name,
        num_unlabeled_examples=num_unlabeled,
        description=describe(
            source, (num_train, num_test), size, batch_size, num_unlabeled
        ),
    )


def open_source(name, data_dir=None, download=False, **user):
    """Opens a user's folder, a folder of IDX files, or a prepared TFDS data set.

    Args:
        name: As in `load_classification`, like `data_dir` and `download`.
        data_dir: Folder, or `None`.
        download: Boolean.
        **user: `test_split`, `bad_images`, `unlabeled`, `color_mode` and `image_size`,
            for a user's folder.

    Returns:
        `(source, test_split)`. The split is `None` if `user` did not tell it and the
        data set is not a user's folder.

    Raises:
        ValueError: As in `load_classification`.
    """
    folder = idx_folder(name, data_dir)
    is_of_user = folder is None and is_path(name)
    for argument in ("unlabeled", "color_mode"):
        if user.get(argument) is not None and not is_of_user:
            raise ValueError(
                f"`{argument}` is for a user's folder or CSV file. Received: "
                f"{argument}={str(user[argument])!r} and the data set {name!r}. Give "
                "the path of a folder as the data set."
            )
    if folder is not None:
        source = IdxSource(folder, name if name in IDX_NAMES else None)
        return source, user.get("test_split")
    builder, test_split = open_builder(
        name, open_classification, data_dir, download, stacklevel=4, **user
    )
    return ClassificationSource(builder), test_split


def _check_alone(unlabeled):
    if unlabeled is not None:
        raise ValueError(
            "`unlabeled` and `examples_per_class` cannot be combined. Received: "
            f"unlabeled={str(unlabeled)!r}. Move the images without labels out of the "
            "class folders instead."
        )


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
            f"augment={name!r} needs images of the same size, but those of this data "
            "set differ in size. Use 'random_resized_crop' or 'none'."
        )
    return name
