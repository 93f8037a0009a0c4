"""Decodes the boxes of KerasHub's detectors inside the model."""

import contextlib
import contextvars
import math
import sys

import keras
import numpy as np
import tensorflow as tf

from keras_diffkd.keras_private.layers import all_layers

# How `boxes` are given: relative, so that nobody needs the image size.
BOX_FORMAT = "rel_xyxy"
# Four images wide and high: no clipped box is another for it whose center is less than
# an image away.
LOG_LARGEST_HALF = math.log(2.0)
_limited = contextvars.ContextVar("limited", default=False)
NMS = {"max_detections": 100, "iou_threshold": 0.5, "score_threshold": 0.05}


def decoded(detector, nms=None, *, computed_by=None):
    """Returns a model that gives the boxes of a RetinaNet, with its weights.

    Anchors are constants of the model, computed once for the detector's image size.
    Boxes are `(left, top, right, bottom)` relative to the image: 0 to 1, clipped.

    Args:
        detector: `keras_hub.models.RetinaNetObjectDetector` for one image size.
        nms: None for every anchor, or a dict of `max_detections` per image (100),
            `iou_threshold` (0.5) and `score_threshold` (0.05) for non-maximum
            suppression within each class; what is left out has the value given here.
        computed_by: `keras.Model` with the inputs and outputs of the detector that
            computes them instead of it, or None.

    Returns:
        `keras.Model` that takes the detector's images. Without `nms` it gives
        `bbox_regression` and `cls_logits`, which are the detector's own, `boxes`
        `(batch, anchors, 4)` and `scores`, the sigmoid of the logits. With `nms`:
        `boxes` `(batch, max_detections, 4)`, `scores` in descending order and
        `classes` (int32) `(batch, max_detections)`, zeros after the first
        `num_detections` (int32) `(batch,)`.

    Raises:
        ValueError: if this is not a RetinaNet, its image size is not known, or `nms`
            cannot be used.

    Example:

    ```python
    model = decoded(detector, nms={"score_threshold": 0.3})
    model(images)["boxes"]  # (batch, 100, 4)
    ```
    """
    options = None if nms is None else _check_nms(nms)
    if not is_detector(detector):
        raise ValueError(
            "Only a `keras_hub.models.RetinaNetObjectDetector` can be decoded; export "
            f"other models without `nms`. Received: {type(detector).__name__}"
        )
    image_size = tuple(detector.input.shape[1:3])
    if None in image_size:
        raise ValueError(
            "Anchors are made for one image size. Build the detector with an "
            f"`image_shape` that is known. Received: {tuple(detector.input.shape)}"
        )
    images = keras.Input(
        detector.input.shape[1:], dtype=detector.input.dtype, name=detector.input.name
    )
    outputs = dict((computed_by or detector)(images))
    boxes = AnchorDecoder(detector.anchor_generator, image_size, name="boxes")(
        outputs["bbox_regression"]
    )
    # Always of the logits: KerasHub applies no activation in the model.
    scores = keras.layers.Activation("sigmoid", dtype="float32", name="scores")(
        outputs["cls_logits"]
    )
    outputs |= {"boxes": boxes, "scores": scores}
    if options is not None:
        outputs = PerClassSuppression(**options, name="detections")([boxes, scores])
    return keras.Model(images, outputs, name=detector.name)


def is_detector(student):
    """Returns whether this is a detector that `decoded` takes.

    Example:

    ```python
    is_detector(keras.Sequential())  # False
    ```
    """
    # Users with a detector have imported KerasHub; nobody else needs to.
    keras_hub = sys.modules.get("keras_hub")
    return keras_hub is not None and isinstance(
        student, keras_hub.models.RetinaNetObjectDetector
    )


def describe_detection(student):
    """Describes a model from `decoded` for the manifest; returns None for others.

    Example:

    ```python
    describe_detection(decoded(detector))  # {"box_format": "rel_xyxy", "nms": None}
    ```
    """
    layers = all_layers(student)
    if not any(isinstance(layer, AnchorDecoder) for layer in layers):
        return None
    options = [
        dict(layer.options)
        for layer in layers
        if isinstance(layer, PerClassSuppression)
    ]
    return {"box_format": BOX_FORMAT, "nms": options[0] if options else None}


@contextlib.contextmanager
def limited_boxes():
    """Limits boxes before they are clipped, in traces for int8.

    The exponential of one odd anchor may be hundreds of images wide, and of 256 values
    for all of them none would be left for the boxes of objects.

    Example:

    ```python
    with limited_boxes():
        write_saved_model(serving, folder)
    ```
    """
    token = _limited.set(True)
    try:
        yield
    finally:
        _limited.reset(token)


@keras.saving.register_keras_serializable(package="keras_diffkd")
class AnchorDecoder(keras.layers.Layer):
    """Decodes a RetinaNet's regression into boxes relative to the image, clipped.

    Args:
        anchor_generator: `keras_hub.layers.AnchorGenerator` of the detector.
        image_size: `(height, width)`.

    Call arguments:
        deltas: float tensor `(batch, anchors, 4)`.

    Example:

    ```python
    AnchorDecoder(detector.anchor_generator, (64, 64))(outputs["bbox_regression"])
    ```
    """

    def __init__(self, anchor_generator, image_size, **kwargs):
        # Pixels in half precision are off by whole pixels.
        super().__init__(**{"dtype": "float32", **kwargs})
        self.anchor_generator = anchor_generator
        self.image_size = tuple(image_size)
        levels = anchor_generator(np.zeros((1, *self.image_size, 3), "float32"))
        anchors = keras.utils.bounding_boxes.convert_format(
            np.concatenate(
                [keras.ops.convert_to_numpy(anchors) for anchors in levels.values()]
            ),
            source=anchor_generator.bounding_box_format,
            target="center_xywh",
            height=self.image_size[0],
            width=self.image_size[1],
        )
        anchors = keras.ops.convert_to_numpy(anchors)
        size = np.array(self.image_size[::-1], "float32")
        self._centers, self._sizes = anchors[:, :2] / size, anchors[:, 2:] / size
        self._log_halves = np.log(self._sizes / 2)

    def call(self, deltas):
        # As `keras.utils.bounding_boxes` computes it, but relative to the image, and
        # with centers and sizes apart: a quantizer rounds concatenated values to
        # the same 256.
        centers = deltas[..., :2] * self._sizes + self._centers
        logs = deltas[..., 2:] + self._log_halves
        if _limited.get():
            logs = keras.ops.minimum(logs, LOG_LARGEST_HALF)
        halves = keras.ops.exp(logs)
        boxes = keras.ops.concatenate([centers - halves, centers + halves], axis=-1)
        return keras.ops.clip(boxes, 0.0, 1.0)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {
            **super().get_config(),
            "anchor_generator": keras.saving.serialize_keras_object(
                self.anchor_generator
            ),
            "image_size": self.image_size,
        }

    @classmethod
    def from_config(cls, config):
        generator = keras.saving.deserialize_keras_object(config["anchor_generator"])
        return cls(**{**config, "anchor_generator": generator})


@keras.saving.register_keras_serializable(package="keras_diffkd")
class PerClassSuppression(keras.layers.Layer):
    """Non-maximum suppression within each class, of all images of a batch.

    TensorFlow's own operation, because SavedModel and ONNX have it for any batch
    size; the TFLite interpreter does not.

    Args:
        max_detections: int, per image.
        iou_threshold: float. Of two boxes that overlap by more, one stays.
        score_threshold: float. Boxes of a lower score go.

    Call arguments:
        inputs: `[boxes, scores]`: float tensors `(batch, anchors, 4)` in 0 to 1 and
            `(batch, anchors, classes)`.

    Example:

    ```python
    PerClassSuppression(100, 0.5, 0.05)([boxes, scores])["classes"]  # (batch, 100)
    ```
    """

    def __init__(self, max_detections, iou_threshold, score_threshold, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.options = {
            "max_detections": max_detections,
            "iou_threshold": iou_threshold,
            "score_threshold": score_threshold,
        }

    def call(self, inputs):
        boxes, scores = inputs
        count = self.options["max_detections"]
        found = tf.image.combined_non_max_suppression(
            boxes[:, :, None, :],
            scores,
            max_output_size_per_class=count,
            max_total_size=count,
            iou_threshold=self.options["iou_threshold"],
            score_threshold=self.options["score_threshold"],
        )
        return {
            "boxes": found.nmsed_boxes,
            "scores": found.nmsed_scores,
            "classes": tf.cast(found.nmsed_classes, "int32"),
            "num_detections": found.valid_detections,
        }

    def get_config(self):
        return {**super().get_config(), **self.options}


def _check_nms(nms):
    if not isinstance(nms, dict) or set(nms) - set(NMS):
        raise ValueError(
            f"Expected `nms` to be None or a dict with keys of {list(NMS)}. "
            f"Received: nms={nms!r}"
        )
    options = {**NMS, **nms}
    count = options["max_detections"]
    thresholds = (options["iou_threshold"], options["score_threshold"])
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise ValueError(
            "Expected `max_detections` of `nms` to be a positive integer. "
            f"Received: {count!r}"
        )
    if not all(isinstance(x, (int, float)) and 0 <= x <= 1 for x in thresholds):
        raise ValueError(
            "Expected `iou_threshold` and `score_threshold` of `nms` to be between 0 "
            f"and 1. Received: {thresholds}"
        )
    return options
