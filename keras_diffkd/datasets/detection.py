"""Object detection data sets of TFDS as batches for training and testing."""

import dataclasses

import tensorflow as tf

from keras_diffkd.datasets.canvas import canvas_size
from keras_diffkd.datasets.detection_source import DetectionSource
from keras_diffkd.datasets.known import (
    DETECTION,
    DetectionConventions,
    find_conventions,
)
from keras_diffkd.datasets.normalization import Normalization
from keras_diffkd.datasets.preparation import prepared_builder
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
    """An object detection data set, ready for `fit` and `evaluate`.

    Attributes:
        train: Infinite `tf.data.Dataset` of `(image, {"boxes", "labels"})`: float32
            `(batch_size, height, width, channels)`, normalised and augmented;
            float32 `(batch_size, max_boxes, 4)`, in pixels of the image as
            `bounding_box_format` says; int32 `(batch_size, max_boxes)`. Images with
            fewer objects have -1 in the boxes and labels that are left. Shuffled;
            every iteration over it starts at the same first batch and gives the
            same batches.
        test: Finite dataset of the same, not augmented, in the order of the data
            set; the last batch may be smaller.
        steps_per_epoch: Integer, whole batches in the training split, at least 1.
        num_train_examples: Integer.
        num_test_examples: Integer.
        num_classes: Integer.
        max_boxes: Integer.
        image_shape: `(height, width, channels)`.
        label_names: List of strings, one per class.
        normalization: `{"mean": [...], "std": [...], "input_range": [0, 255]}`,
            per channel: `image = (pixel / 255 - mean) / std`.
        bounding_box_format: "xyxy", the name that Keras and KerasHub have for
            `xmin, ymin, xmax, ymax`.
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
):
    """Loads an object detection data set of TFDS.

    Images keep their proportions: they are resized until they fit, at the top left,
    and what is left of the canvas is black. Objects that are marked as a crowd
    (COCO) are left out, in training and in test.

    The training data is a pure function of `seed` and of the number of the batch.

    Args:
        name: `digit_scenes`, or a name of the TFDS catalogue with an image and a
            sequence of objects with box and class label, for example "coco/2017".
        data_dir: Folder of prepared data sets. Defaults to that of TFDS.
        batch_size: Integer, the global batch size.
        image_size: Integer, side of the square images, or `(height, width)`.
            Defaults to the size of the data set's images, or 512 where they differ.
        train_split: A split or slice of it in the notation of TFDS, for example
            "train[:80%]".
        test_split: Like `train_split`. Defaults to "test", or to "validation"
            where there is no "test" with boxes.
        augment: "flip", "crop" (enlarged or shrunk by up to a quarter and moved;
            boxes of which less than a quarter is left are dropped), "crop_flip", or
            "none". Defaults to what the literature does with the data set;
            otherwise to "crop_flip".
        max_boxes: Integer, to how many boxes the images' are filled up with -1.
            Defaults to what is known of the data set; otherwise to 100, or more
            where one of the first 4096 images has more. Later training images with
            more lose the last of theirs; a later test image with more stops the
            test.
        seed: Non-negative integer for order and augmentation.
        start_step: Integer, the number of the first training batch: a training
            that is resumed goes on where it was, without decoding what it skips.
        shard: `None`, or `(index, count)` of a worker: its `train` has batches of
            `batch_size // count`, and those of all workers together are the batches
            without sharding. `test` is whole.
        download: Whether TFDS may download the data set. `digit_scenes` never
            needs it.

    Returns:
        A `DetectionData`.

    Raises:
        ValueError: If the data set or split is unknown, not prepared, empty or has
            no image, boxes and class labels; if an argument is out of its range; or
            if one of the first 4096 examples of a split has more than `max_boxes`
            objects, a label outside the classes, or a box that is outside the image
            or has no area. A later label outside the classes or box outside the
            image raises `tf.errors.InvalidArgumentError` when its batch is read; a
            later box without area is dropped.

    Example:

    >>> data = load_detection("digit_scenes/small", data_dir="/tmp/data", batch_size=8)
    >>> data.image_shape, data.num_classes, data.num_test_examples
    ((64, 64, 3), 10, 32)
    >>> images, objects = next(iter(data.train))
    >>> objects["boxes"].shape, objects["labels"].shape
    (TensorShape([8, 3, 4]), TensorShape([8, 3]))
    """
    check_arguments(batch_size, seed, start_step, shard)
    builder = prepared_builder(name, data_dir, download)
    known = find_conventions(DETECTION, builder, DetectionConventions())
    source = DetectionSource(builder, known.empty_boxes)
    size = canvas_size(image_size, source.image_shape)
    view_of = find_view(augment or known.augment or "crop_flip")
    test_split = test_split or known.test_split or source.default_test_split()
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
    )


def fill(values, count):
    """Returns the first `count` values, filled up with -1.

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
            "`max_boxes` must be at least the number of objects in an image, "
            f"{most_objects} in one of the first. Received: max_boxes={asked}."
        )
    return asked


def _assert_fits(boxes, max_boxes):
    check = tf.debugging.assert_less_equal(
        tf.shape(boxes)[0],
        max_boxes,
        "A test image has more objects than `max_boxes`; pass a larger one.",
    )
    with tf.control_dependencies([check] if check is not None else []):
        return tf.identity(boxes)
