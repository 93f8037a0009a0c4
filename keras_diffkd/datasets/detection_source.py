"""Reads images with boxes from a prepared TFDS data set."""

import typing

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from keras_diffkd.datasets.features import find_image, only
from keras_diffkd.datasets.tfds_source import TfdsSource

# Number of examples of a split whose boxes are checked first.
_NUM_EXAMPLES_CHECKED = 4096
# Rounding to float32 may add this share of the image's side.
_TOLERANCE = 1e-5
_RELATIVE_YXYX = "REL_YXYX"


class Survey(typing.NamedTuple):
    """Describes a split.

    Attributes:
        num_examples: Integer, the number of examples in the split.
        most_objects: Integer, the largest number of objects in the first examples.
    """

    num_examples: int
    most_objects: int


class DetectionSource(TfdsSource):
    """Reads the image, the boxes and their labels from a prepared TFDS data set.

    Objects that are marked as a crowd (`is_crowd`) are left out, because their box
    contains several objects.

    Args:
        builder: A `tfds.core.DatasetBuilder` whose data is prepared.
        empty_boxes: Boolean, whether the data set may have boxes without area. If not,
            they are an error.

    Attributes:
        image_shape: `(height, width, channels)`. Height and width are `None` if the
            images differ in size.
        num_classes: Integer.
        label_names: List of strings.

    Raises:
        ValueError: If the data set does not have uint8 images, each with a sequence of
            boxes and class labels.

    Example:

    >>> from keras_diffkd.datasets.preparation import prepared_builder
    >>> builder = prepared_builder("digit_scenes/small", "/tmp/data")
    >>> source = DetectionSource(builder)
    >>> image, boxes, labels = next(iter(source.read("test")))
    >>> source.decode(image).shape, boxes.shape[1:]
    (TensorShape([64, 64, 3]), TensorShape([4]))
    """

    def __init__(self, builder, empty_boxes=False):
        super().__init__(builder)
        self._empty_boxes = empty_boxes
        features = builder.info.features
        self._image_key = find_image(self._name, features)
        self._image = features[self._image_key]
        self._objects_key, self._box_key = self._find_boxes(features)
        objects = features[self._objects_key].feature
        self._label_key = self._find_label(objects)
        self._has_crowds = "is_crowd" in objects
        label = objects[self._label_key]
        self.image_shape = tuple(self._image.shape)
        self.num_classes = label.num_classes
        self.label_names = list(label.names)

    def _find_boxes(self, features):
        found = [
            (key, inner_key)
            for key, feature in features.items()
            if isinstance(feature, tfds.features.Sequence)
            and isinstance(feature.feature, tfds.features.FeaturesDict)
            for inner_key, inner in feature.feature.items()
            if isinstance(inner, tfds.features.BBoxFeature)
        ]
        keys = only(
            found,
            ("objects", "bbox"),
            f"{self._name} is not an object detection data set: expected one "
            "sequence of objects with one `tfds.features.BBoxFeature` each.",
            features,
        )
        box_format = features[keys[0]].feature[keys[1]].bbox_format
        # Data sets that an older TFDS prepared do not record the format.
        if box_format is not None and box_format.value != _RELATIVE_YXYX:
            raise ValueError(
                f"{self._name} must have boxes in the format of TFDS, "
                f"{_RELATIVE_YXYX}. Received: {box_format.value}. Prepare it with "
                "relative `ymin, xmin, ymax, xmax`."
            )
        return keys

    def _find_label(self, objects):
        found = [
            key
            for key, feature in objects.items()
            if isinstance(feature, tfds.features.ClassLabel) and feature.num_classes
        ]
        return only(
            found,
            "label",
            f"{self._name} is not an object detection data set: expected one "
            "`tfds.features.ClassLabel` with known classes for each object.",
            objects,
        )

    def read(self, split, file_seed=None):
        """Returns a `tf.data.Dataset` of (encoded image, boxes, int64 labels).

        Boxes are float32 `(count, 4)`, `ymin, xmin, ymax, xmax` in 0..1.
        Arguments and errors are those of `TfdsSource`.
        """
        objects = {self._box_key, self._label_key}
        objects |= {"is_crowd"} if self._has_crowds else set()
        decoders = tfds.decode.PartialDecoding(
            {self._image_key: True, self._objects_key: objects},
            {self._image_key: tfds.decode.SkipDecoding()},
        )
        return self._examples(split, file_seed, decoders).map(self._select)

    def _select(self, example):
        objects = example[self._objects_key]
        boxes, labels = objects[self._box_key], objects[self._label_key]
        if self._has_crowds:
            single = ~objects["is_crowd"]
            boxes = tf.boolean_mask(boxes, single)
            labels = tf.boolean_mask(labels, single)
        return example[self._image_key], boxes, labels

    def survey(self, split):
        """Checks the objects in the first 4096 examples of a split.

        Returns:
            A `Survey`.

        Raises:
            ValueError: If the split is unknown or empty, if none of these examples has
                an object, if one of them has a label outside the classes or a box
                outside the image, or if one has a box without area although
                `empty_boxes` is false.
        """
        examples = self.read(split)
        counts = []
        objects = examples.map(lambda image, boxes, labels: (boxes, labels))
        for boxes, labels in objects.take(_NUM_EXAMPLES_CHECKED).as_numpy_iterator():
            self._check_example(boxes, labels, f"Example {len(counts)} of {split!r}")
            counts.append(len(labels))
        if not counts:
            raise ValueError(self._no_examples(split))
        if not any(counts):
            raise ValueError(
                f"{self._name} has no boxes in the split {split!r}: the first "
                f"{len(counts)} examples have no objects. Use another split."
            )
        return Survey(int(examples.cardinality()), max(counts))

    def _check_example(self, boxes, labels, place):
        wrong = labels[(labels < 0) | (labels >= self.num_classes)]
        if wrong.size:
            raise ValueError(
                f"{self._name} has labels outside its {self.num_classes} classes. "
                f"{place} has {wrong[:10].tolist()}. Use another split, or repair the "
                "data set."
            )
        sides = boxes[:, 2:] - boxes[:, :2]
        least = 0.0 if self._empty_boxes else np.finfo(np.float32).tiny
        inside = (boxes >= -_TOLERANCE) & (boxes <= 1 + _TOLERANCE)
        for problem, fine in (
            ("outside its image", inside.all(-1)),
            ("without height or width", (sides >= least).all(-1)),
        ):
            if not fine.all():
                raise ValueError(
                    f"{self._name} has boxes {problem}. {place} has "
                    f"{boxes[~fine][0].tolist()}; expected ymin < ymax and xmin < "
                    "xmax, all in 0..1. Repair the data set."
                )

    def check(self, boxes, labels):
        """Returns boxes and labels and checks them when they are read.

        Boxes without area pass the check, because they are dropped later.

        Raises:
            tf.errors.InvalidArgumentError: When an example with a label outside the
                classes or a box outside its image is read.
        """
        inside = (boxes >= -_TOLERANCE) & (boxes <= 1 + _TOLERANCE)
        ordered = boxes[:, 2:] >= boxes[:, :2]
        known = (labels >= 0) & (labels < self.num_classes)
        checks = [
            tf.debugging.Assert(
                tf.reduce_all(inside) & tf.reduce_all(ordered),
                [f"{self._name} has a box outside its image:", boxes],
            ),
            tf.debugging.Assert(
                tf.reduce_all(known),
                [
                    f"{self._name} has a label outside its {self.num_classes} classes:",
                    labels,
                ],
            ),
        ]
        with tf.control_dependencies(checks):
            return tf.identity(boxes), tf.identity(labels)
