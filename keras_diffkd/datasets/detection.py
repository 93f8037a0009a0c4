"""Loads object detection data sets as batches for training and testing."""

import dataclasses

import tensorflow as tf

from keras_diffkd.datasets.canvas import canvas_size
from keras_diffkd.datasets.description import describe
from keras_diffkd.datasets.detection_source import DetectionSource
from keras_diffkd.datasets.folders.boxes import open_boxes
from keras_diffkd.datasets.known import (
    DETECTION,
    DetectionConventions,
    find_conventions,
)
from keras_diffkd.datasets.normalization import Normalization
from keras_diffkd.datasets.opening import open_builder
from keras_diffkd.datasets.stream import (
    check_arguments,
    check_integer,
    test_batches,
    train_batches,
)
from keras_diffkd.datasets.view import find_view, letterbox

_MAX_BOXES = 100


@dataclasses.dataclass(frozen=True)
class DetectionData:
    """Holds an object detection data set, ready for `fit` and `evaluate`.

    Attributes:
        train: Infinite `tf.data.Dataset` of `(image, {"boxes", "labels"})`: float32
            `(batch_size, height, width, channels)`, normalized and augmented; float32
            `(batch_size, max_boxes, 4)`, in pixels and in `bounding_box_format`; int32
            `(batch_size, max_boxes)`. Boxes and labels of images with fewer objects are
            padded with -1. It is shuffled, and each iteration over it gives the same
            batches.
        test: Finite dataset of the same form, not augmented, in the order of the data
            set. The last batch may be smaller.
        steps_per_epoch: Integer, the number of whole batches in the training split, at
            least 1.
        num_train_examples: Integer.
        num_test_examples: Integer.
        num_classes: Integer.
        max_boxes: Integer.
        image_shape: `(height, width, channels)`.
        label_names: List of strings, one per class.
        normalization: `{"mean": [...], "std": [...], "input_range": [0, 255]}`,
            per channel: `image = (pixel / 255 - mean) / std`.
        bounding_box_format: "xyxy", the name of `xmin, ymin, xmax, ymax` in Keras and
            KerasHub.
        full_name: String, the name of the data set with its version or fingerprint.
        description: String, what the data set is and how much memory it takes.
    """

    train: tf.data.Dataset
    test: tf.data.Dataset
    steps_per_epoch: int
    num_train_examples: int
    num_test_examples: int
    num_classes: int
    max_boxes: int
    image_shape: tuple
    label_names: list
    normalization: dict
    bounding_box_format: str = "xyxy"
    full_name: str = ""
    description: str = ""


def load_detection(
    name,
    *,
    data_dir=None,
    batch_size,
    image_size=None,
    train_split="train",
    test_split=None,
    augment=None,
    max_boxes=None,
    seed=0,
    start_step=0,
    shard=None,
    download=False,
    bad_images="skip",
):
    """Loads an object detection data set of TFDS.

    Images keep their aspect ratio: they are resized to fit the canvas and placed at its
    top left. The rest of the canvas is black. Objects that are marked as a crowd (COCO)
    are left out, both in training and in the test.

    The training data depends only on `seed` and the number of the batch.

    Args:
        name: `digit_scenes`, or a name in the TFDS catalog of a data set with an image
            and a sequence of objects with box and class label, for example "coco/2017";
            or the path of a folder with images and JSON files of COCO's format
            (`docs/your_data.md`).
        data_dir: Folder of prepared data sets. Defaults to that of TFDS.
        batch_size: Integer, the global batch size.
        image_size: Integer, the side of the square images, or `(height, width)`.
            Defaults to the size of the data set's images. If they differ in size, it
            is needed, except for data sets with conventions in `known.py`: 512.
        train_split: A split or a slice of one in the notation of TFDS, for example
            "train[:80%]".
        test_split: Like `train_split`. Defaults to "test", or to "validation" if there
            is no "test" with boxes. For a user's folder without splits, it is the share
            of images to test on, and defaults to "20%".
        augment: "flip", "crop" (scales by 0.8 to 1.25 and shifts; drops boxes of which
            less than a quarter is visible), "crop_flip", or "none". Defaults to the
            augmentation in the literature on the data set, or to "crop_flip".
        max_boxes: Integer, the number of boxes to which each image is padded with -1.
            Defaults to the known maximum of the data set, or to 100, or more if one of
            the first 4096 images has more. A later training image with more loses its
            last boxes. A later test image with more stops the test.
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
        A `DetectionData`.

    Raises:
        ValueError: If the data set or split is unknown, not prepared, empty, or does
            not have an image, boxes and class labels; if an argument is out of range;
            or if one of the first 4096 examples of a split has more than `max_boxes`
            objects, a label outside the classes, or a box that is outside the image or
            has no area. A later label outside the classes or box outside the image
            raises `tf.errors.InvalidArgumentError` when its batch is read. A later box
            without area is dropped.

    Example:

    >>> data = load_detection("digit_scenes/small", data_dir="/tmp/data", batch_size=8)
    >>> data.image_shape, data.num_classes, data.num_test_examples
    ((64, 64, 3), 10, 32)
    >>> images, objects = next(iter(data.train))
    >>> objects["boxes"].shape, objects["labels"].shape
    (TensorShape([8, 3, 4]), TensorShape([8, 3]))
    """
    check_arguments(batch_size, seed, start_step, shard)
    builder, test_split = open_builder(
        name,
        open_boxes,
        data_dir,
        download,
        test_split,
        bad_images=bad_images,
        image_size=image_size,
    )
    known = find_conventions(DETECTION, builder, DetectionConventions())
    source = DetectionSource(builder, known.empty_boxes)
    view_of = find_view(augment or known.augment or "crop_flip")
    test_split = test_split or known.test_split or source.default_test_split()
    if known.max_boxes is None:
        source.settle_size((train_split, test_split), image_size)
    size = canvas_size(image_size, source.image_shape)
    train, test = source.survey(train_split), source.survey(test_split)
    most_objects = max(train.most_objects, test.most_objects)
    max_boxes = _max_boxes(max_boxes, known.max_boxes, most_objects)
    normalize = Normalization.of(known, source.image_shape[-1])

    def show(example, view_of_image, whole):
        image, boxes, labels = example
        image = source.decode(image)
        boxes, labels = source.check(boxes, labels)
        view = view_of_image(tf.shape(image))
        boxes, visible = view.show_boxes(boxes)
        boxes = tf.boolean_mask(boxes, visible)
        labels = tf.cast(tf.boolean_mask(labels, visible), tf.int32)
        if whole:
            boxes = _assert_fits(boxes, max_boxes)
        objects = {"boxes": fill(boxes, max_boxes), "labels": fill(labels, max_boxes)}
        return normalize(view.show_image(image)), objects

    def training_example(seeds, example):
        return show(example, lambda shape: view_of(shape, size, seeds), whole=False)

    def test_example(example):
        return show(example, lambda shape: letterbox(shape, size), whole=True)

    return DetectionData(
        train=train_batches(
            source,
            train_split,
            train.num_examples,
            training_example,
            batch_size=batch_size,
            seed=seed,
            start_step=start_step,
            shard=shard,
        ),
        test=test_batches(source, test_split, test_example, batch_size),
        steps_per_epoch=max(1, train.num_examples // batch_size),
        num_train_examples=train.num_examples,
        num_test_examples=test.num_examples,
        num_classes=source.num_classes,
        max_boxes=max_boxes,
        image_shape=(*size, source.image_shape[-1]),
        label_names=source.label_names,
        normalization=normalize.as_dict(),
        full_name=source.full_name,
        description=describe(
            source, (train.num_examples, test.num_examples), size, batch_size
        ),
    )


def fill(values, count):
    """Returns the first `count` values, padded with -1.

    Args:
        values: Tensor of shape `(n, ...)`.
        count: Integer.

    Returns:
        Tensor of shape `(count, ...)`.

    Example:

    >>> fill(tf.constant([3, 5]), 4).numpy()
    array([ 3,  5, -1, -1], dtype=int32)
    """
    values = values[:count]
    missing = [[0, count - tf.shape(values)[0]]] + [[0, 0]] * (values.shape.rank - 1)
    filled = tf.pad(values, missing, constant_values=-1)
    return tf.ensure_shape(filled, (count, *values.shape[1:]))


def _max_boxes(asked, known, most_objects):
    if asked is None:
        return max(known or _MAX_BOXES, most_objects)
    check_integer("max_boxes", asked, 1)
    if asked < most_objects:
        raise ValueError(
            "`max_boxes` must be at least the number of objects in each image: one of "
            f"the first images has {most_objects}. Received: max_boxes={asked}."
        )
    return asked


def _assert_fits(boxes, max_boxes):
    check = tf.debugging.assert_less_equal(
        tf.shape(boxes)[0],
        max_boxes,
        "A test image has more objects than `max_boxes`. Pass a larger `max_boxes`.",
    )
    with tf.control_dependencies([check] if check is not None else []):
        return tf.identity(boxes)
