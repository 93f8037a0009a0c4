"""Loads semantic segmentation data sets as batches for training and testing."""

import dataclasses

import tensorflow as tf

from keras_diffkd.datasets.canvas import canvas_size
from keras_diffkd.datasets.description import describe
from keras_diffkd.datasets.fixed_views import FixedViews, training_views
from keras_diffkd.datasets.folders.masks import open_masks
from keras_diffkd.datasets.known import (
    SEGMENTATION,
    SegmentationConventions,
    find_conventions,
)
from keras_diffkd.datasets.normalization import Normalization
from keras_diffkd.datasets.opening import open_builder
from keras_diffkd.datasets.segmentation_source import SegmentationSource
from keras_diffkd.datasets.stream import check_arguments, test_batches
from keras_diffkd.datasets.view import VERSION, find_view, letterbox

_IGNORE_LABEL = 255


@dataclasses.dataclass(frozen=True)
class SegmentationData:
    """Holds a semantic segmentation data set, ready for `fit` and `evaluate`.

    Attributes:
        train: Infinite `tf.data.Dataset` of `(image, mask)`: float32
            `(batch_size, height, width, channels)`, normalized and augmented, and int32
            `(batch_size, height, width)`, the class of each pixel, or `ignore_label`.
            It is shuffled, and each iteration over it gives the same batches.
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
        ignore_label: 255, the label of pixels without a class and of pixels around an
            image that does not fill the canvas. `None` if no pixel can have it. Pass it
            to Keras's losses and metrics as `ignore_class`.
        views: `FixedViews` of the training images, or `None` without `views`.
        full_name: String, the name of the data set with its version or fingerprint.
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
    ignore_label: int | None
    views: FixedViews | None = None
    full_name: str = ""
    description: str = ""


def load_segmentation(
    name,
    *,
    data_dir=None,
    batch_size,
    image_size=None,
    train_split="train",
    test_split=None,
    augment=None,
    views=None,
    view_seed=None,
    seed=0,
    start_step=0,
    shard=None,
    download=False,
    bad_images="skip",
):
    """Loads a semantic segmentation data set of TFDS.

    Images and masks keep their aspect ratio: they are resized to fit the canvas and
    placed at its top left. The rest of the canvas is black, and ignored in the mask.
    Test masks also have the size of the resized images.

    The training data depends only on `seed` and the number of the batch.

    Args:
        name: `digit_scenes` (the background and ten digits), `oxford_iiit_pet` (pet,
            background and border), `cityscapes` (the 19 classes of the benchmark), or a
            TFDS data set whose mask is a `tfds.features.LabeledImage`, in which pixels
            of 255 are ignored; or the path of a folder with `images` and `masks`
            (`docs/your_data.md`).
        data_dir: Folder of prepared data sets. Defaults to that of TFDS.
        batch_size: Integer, the global batch size.
        image_size: Integer, the side of the square images, or `(height, width)`.
            Defaults to the size of the data set's images. If they differ in size, it
            is needed, except for data sets with conventions in `known.py`: 512.
        train_split: A split or a slice of one in the notation of TFDS, for example
            "train[:80%]".
        test_split: Like `train_split`. Defaults to "test", or to "validation" if there
            is no "test" with masks. For a user's folder without splits, it is the share
            of images to test on, and defaults to "20%".
        augment: "flip", "crop" (scales by 0.8 to 1.25 and shifts), "crop_flip", or
            "none". Defaults to "crop_flip", or to "crop" for digits.
        views: As for `load_classification`, like `view_seed`.
        view_seed: Non-negative integer.
        seed: Non-negative integer for order and augmentation.
        start_step: Integer, the number of the first training batch. A resumed training
            continues there without decoding the batches that it skips.
        shard: `None`, or `(index, count)` of a worker. Its `train` has batches of
            `batch_size // count`. Together, the batches of all workers are the batches
            without sharding. `test` is complete on each worker.
        download: Boolean, whether TFDS may download the data set. `digit_scenes` never
            needs a download.
        bad_images: "skip" to leave out, with a warning, the images in a user's folder
            that cannot be used, or "refuse" to stop at them.

    Returns:
        A `SegmentationData`.

    Raises:
        ValueError: If the data set or split is unknown, not prepared, empty, or does
            not have an image and a mask of known classes; if an argument is out of
            range; or if one of the first masks of a split (4096 small ones, or 64
            million pixels) has unknown classes. A later mask with unknown classes
            raises `tf.errors.InvalidArgumentError` when its batch is read.

    Example:

    >>> data = load_segmentation(
    ...     "digit_scenes/small", data_dir="/tmp/data", batch_size=8
    ... )
    >>> data.image_shape, data.num_classes, data.ignore_label
    ((64, 64, 3), 11, 255)
    >>> images, masks = next(iter(data.train))
    >>> images.shape, masks.shape
    (TensorShape([8, 64, 64, 3]), TensorShape([8, 64, 64]))
    """
    check_arguments(batch_size, seed, start_step, shard)
    builder, test_split = open_builder(
        name,
        open_masks,
        data_dir,
        download,
        test_split,
        bad_images=bad_images,
        image_size=image_size,
    )
    default = SegmentationConventions(ignored=(_IGNORE_LABEL,))
    known = find_conventions(SEGMENTATION, builder, default)
    source = SegmentationSource(builder, known, _IGNORE_LABEL)
    augment = augment or known.augment or "crop_flip"
    view_of = find_view(augment)
    test_split = test_split or known.test_split or source.default_test_split()
    if known is default:
        source.settle_size((train_split, test_split), image_size)
    size = canvas_size(image_size, source.image_shape)
    num_train, num_test = source.count(train_split), source.count(test_split)
    normalize = Normalization.of(known, source.image_shape[-1])

    def show(example, view_of_image):
        image = source.decode(example[0])
        mask = source.decode_mask(example[1])
        view = view_of_image(tf.shape(image))
        return (
            normalize(view.show_image(image)),
            view.show_mask(mask, outside=_IGNORE_LABEL),
        )

    def training_example(seeds, example):
        return show(example, lambda shape: view_of(shape, size, seeds))

    def test_example(example):
        return show(example, lambda shape: letterbox(shape, size))

    image_shape = (*size, source.image_shape[-1])
    train, fixed = training_views(
        source,
        train_split,
        num_train,
        prepare=training_example,
        batch_size=batch_size,
        order={"seed": seed, "start_step": start_step, "shard": shard},
        views=views,
        view_seed=view_seed,
        description={
            "data_set": source.full_name,
            "split": str(train_split),
            "image_shape": list(image_shape),
            "normalization": normalize.as_dict(),
            "augmentation": augment,
            "augmentation_version": VERSION,
        },
    )
    fills = augment in ("none", "flip") and _fills(source.image_shape, size)
    return SegmentationData(
        train=train,
        test=test_batches(source, test_split, test_example, batch_size),
        steps_per_epoch=max(1, num_train // batch_size),
        num_train_examples=num_train,
        num_test_examples=num_test,
        num_classes=source.num_classes,
        image_shape=image_shape,
        label_names=source.label_names,
        normalization=normalize.as_dict(),
        full_name=source.full_name,
        description=describe(source, (num_train, num_test), size, batch_size),
        ignore_label=None if fills and not known.ignored else _IGNORE_LABEL,
        views=fixed,
    )


def _fills(image_shape, size):
    """Returns whether each image fills the canvas, so that there is no padding."""
    if None in image_shape[:2]:
        return False
    return tuple(letterbox(image_shape, size).extent.numpy().tolist()) == size
