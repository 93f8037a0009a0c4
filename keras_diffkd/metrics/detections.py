"""Turns the outputs of a RetinaNet into the objects that it found."""

import importlib

import keras
import numpy as np

# Scores of one chunk of images: 64 MB in float32.
_CHUNK = 2**24


def detections(
    outputs, detector, max_detections=100, iou_threshold=0.5, score_threshold=0.05
):
    """Decodes boxes, and keeps the best ones of each class that do not overlap.

    It is for evaluation, and needs TensorFlow on every backend. Outputs are large: call
    it on batches of any size, and concatenate.

    Args:
        outputs: `{"bbox_regression": ..., "cls_logits": ...}`, float arrays
            `(images, anchors, 4)` and `(images, anchors, classes)`, from calling
            `detector` on a batch. (`detector.predict` gives boxes; its suppression
            ignores classes and fails on batches of different sizes.)
        detector: The `keras_hub.models.RetinaNetObjectDetector`. It must know the
            height and width of its images, to which boxes are clipped.
        max_detections: Integer, how many boxes to keep per image, over all classes.
        iou_threshold: Float from 0 to 1; a box that overlaps more with a better one
            of its class is dropped.
        score_threshold: Float from 0 to 1; boxes without a higher score are dropped.

    Returns:
        `(boxes, scores, classes)`, best first: float32 `(images, max_detections, 4)`,
        `xyxy` in pixels, float32 `(images, max_detections)` and int32
        `(images, max_detections)`. Missing boxes and classes are -1, missing scores 0.

    Raises:
        ImportError: If TensorFlow is not installed.
        ValueError: If the outputs do not fit the detector, or the size of its images is
            unknown.

    Example:

    >>> detector = keras_diffkd.models.build_model(
    ...     "retinanet_scenes_student", (64, 64, 3), num_classes=10
    ... )
    >>> outputs = detector(np.zeros((2, 64, 64, 3)), training=False)
    >>> boxes, scores, classes = detections(outputs, detector)
    >>> boxes.shape, scores.shape, classes.shape
    ((2, 100, 4), (2, 100), (2, 100))

    Source: Focal Loss for Dense Object Detection (arXiv 1708.02002), without its
    limit of 1000 boxes for each level.
    """
    deltas, logits = (
        keras.ops.convert_to_numpy(keras.ops.cast(outputs[name], "float32"))
        for name in ("bbox_regression", "cls_logits")
    )
    image_shape = _image_shape(detector)
    anchors = _anchors(detector, image_shape)
    _check_outputs(deltas, logits, anchors.shape[0], image_shape)
    chunk = max(1, _CHUNK // (logits.shape[1] * logits.shape[2]))
    found = [
        _suppress(
            _decode(deltas[start : start + chunk], anchors, detector, image_shape),
            _probabilities(logits[start : start + chunk], detector),
            max_detections,
            iou_threshold,
            score_threshold,
        )
        for start in range(0, len(logits), chunk)
    ]
    return tuple(np.concatenate(arrays) for arrays in zip(*found, strict=True))


def _image_shape(detector):
    shape = tuple(detector.inputs[0].shape[1:])
    if None in shape:
        raise ValueError(
            "The detector must know the height and width of its images: anchors depend "
            f"on them. Received: images of shape {shape}. Build the detector with an "
            "`image_shape`."
        )
    return shape


def _anchors(detector, image_shape):
    levels = detector.anchor_generator(np.zeros(image_shape, "float32"))
    return keras.ops.concatenate(list(levels.values()))


def _check_outputs(deltas, logits, anchors, image_shape):
    images = len(logits)
    boxes_fit = deltas.shape == (images, anchors, 4)
    logits_fit = logits.ndim == 3 and logits.shape[1] == anchors
    if not (images and boxes_fit and logits_fit):
        raise ValueError(
            f"For images of shape {image_shape}, `outputs` must have 'bbox_regression' "
            f"of shape (images, {anchors}, 4) and 'cls_logits' of shape (images, "
            f"{anchors}, classes), for at least one image. Received: {deltas.shape} "
            f"and {logits.shape}. Pass the outputs of this detector."
        )


def _decode(deltas, anchors, detector, image_shape):
    """Returns the boxes as `xyxy` pixels inside the image."""
    boxes = keras.utils.bounding_boxes.decode_deltas_to_boxes(
        anchors=anchors,
        boxes_delta=keras.ops.convert_to_tensor(deltas),
        anchor_format=detector.anchor_generator.bounding_box_format,
        box_format="xyxy",
        encoded_format="center_xywh",
        image_shape=image_shape,
    )
    height, width = image_shape[:2]
    boxes = keras.ops.convert_to_numpy(boxes)
    return np.clip(boxes, 0.0, np.array([width, height, width, height], "float32"))


def _probabilities(logits, detector):
    if detector.activation is keras.activations.sigmoid:
        return logits  # KerasHub: its outputs are probabilities then.
    return keras.ops.convert_to_numpy(keras.ops.sigmoid(logits))


def _suppress(boxes, scores, max_detections, iou_threshold, score_threshold):
    """Returns boxes, scores and classes after suppression, padded."""
    tf = importlib.import_module("tensorflow")
    with tf.device("CPU:0"):  # There is no other kernel.
        kept = tf.image.combined_non_max_suppression(
            boxes[:, :, None],
            scores,
            max_output_size_per_class=max_detections,
            max_total_size=max_detections,
            iou_threshold=iou_threshold,
            score_threshold=score_threshold,
            clip_boxes=False,
        )
    boxes, scores, classes, counts = (array.numpy() for array in kept)
    filling = np.arange(max_detections) >= counts[:, None]
    boxes = np.where(filling[..., None], np.float32(-1), boxes)
    classes = np.where(filling, -1, classes).astype("int32")
    return boxes, np.where(filling, np.float32(0), scores), classes
