"""The mean average precision of COCO."""

import importlib

import numpy as np

from keras_diffkd.silent_prints import silent_prints

_MAX_DETECTIONS = 100
_EVERY_AREA = [0.0, float("inf")]


def coco_map(boxes, scores, classes, targets, num_classes):
    """Computes the mean average precision of detections, with COCO's own code.

    It is the average precision at 101 recalls, with the 100 best detections of a class
    in an image, and its mean over the classes that occur in the targets.

    COCO ignores detections on objects that are marked as a crowd. Targets of
    `datasets.load_detection` have no crowds, so such detections count as wrong, for
    teacher and student alike.

    Args:
        boxes: Float array `(images, detections, 4)`, `xyxy` in pixels. A box that
            is not finite finds nothing.
        scores: Float array `(images, detections)`; 0 or less marks padding.
        classes: Integer array `(images, detections)`; below 0 marks padding.
        targets: `{"boxes": ..., "labels": ...}`, `xyxy` in pixels `(images, n, 4)`
            and integers `(images, n)`; labels below 0 mark padding.
        num_classes: Integer.

    Returns:
        `{"mAP": ..., "mAP50": ...}`, floats from 0 to 1: the mean over the
        intersections over union 0.5, 0.55, ... 0.95, and at 0.5 alone. Without any
        detection both are 0.

    Raises:
        ImportError: If pycocotools is not installed.
        ValueError: If shapes do not match, a class is not below `num_classes`, or no
            image has an object.

    Example:

    >>> targets = {"boxes": [[[0, 0, 10, 10], [20, 0, 30, 9]]], "labels": [[3, 5]]}
    >>> found = coco_map([[[0, 0, 10, 10]]], [[0.9]], [[3]], targets, num_classes=10)
    >>> round(found["mAP"], 3), round(found["mAP50"], 3)
    (0.5, 0.5)

    Source: Microsoft COCO (arXiv 1405.0312); pycocotools.
    """
    scores, classes = np.asarray(scores), np.asarray(classes)
    boxes, found = _checked("detections", boxes, classes, num_classes)
    if scores.shape != classes.shape:
        raise ValueError(
            "Detections must have one score and one class each. Received: scores "
            f"{scores.shape}, classes {classes.shape}."
        )
    labels = np.asarray(targets["labels"])
    true_boxes, there = _checked("targets", targets["boxes"], labels, num_classes)
    if len(labels) != len(classes):
        raise ValueError(
            "Detections and targets must be of the same images. Received: "
            f"{len(classes)} and {len(labels)} images."
        )
    if not there.any():
        raise ValueError(
            "No image has an object, so there is no average precision. Received: "
            f"{len(labels)} images with labels below 0 only. Evaluate on images with "
            "objects."
        )
    found &= scores > 0
    if not found.any():
        return {"mAP": 0.0, "mAP50": 0.0}
    # NaN would overlap with everything.
    finite = np.isfinite(boxes).all(axis=-1, keepdims=True)
    annotations = _annotations(np.where(finite, boxes, 0.0), classes, found)
    for annotation, score in zip(annotations, scores[found], strict=True):
        annotation["score"] = float(score)
    truth = _annotations(true_boxes, labels, there)
    precision = _precision(truth, annotations, len(labels), num_classes)
    return {"mAP": _mean(precision), "mAP50": _mean(precision[0])}


def _checked(whose, boxes, labels, num_classes):
    """Returns the boxes in float64, and a mask of those that are not padding."""
    boxes = np.asarray(boxes, "float64")
    if labels.ndim != 2 or boxes.shape != (*labels.shape, 4):
        raise ValueError(
            f"The {whose} must have boxes of shape (images, n, 4) and classes of shape "
            f"(images, n). Received: boxes {boxes.shape}, classes {labels.shape}."
        )
    if labels.size and labels.max() >= num_classes:
        raise ValueError(
            f"The classes of {whose} must be below `num_classes`. Received: class "
            f"{labels.max()}, num_classes={num_classes}."
        )
    return boxes, labels >= 0


def _annotations(boxes, labels, present):
    """Returns the boxes that are present as COCO's annotations."""
    images, _ = np.nonzero(present)
    left, top, right, bottom = boxes[present].T
    width, height = right - left, bottom - top
    columns = zip(
        images.tolist(),
        labels[present].astype(int).tolist(),
        np.stack([left, top, width, height], axis=-1).tolist(),
        (width * height).tolist(),
        strict=True,
    )
    return [
        {
            "id": number,  # From 1: 0 means unmatched.
            "image_id": image,
            "category_id": label,
            "bbox": box,
            "area": area,
            "iscrowd": 0,
        }
        for number, (image, label, box, area) in enumerate(columns, start=1)
    ]


def _precision(truth, detections, num_images, num_classes):
    """Returns the precision per threshold, recall and class; -1 for absent classes."""
    coco, evaluation = _import_pycocotools()
    with silent_prints():
        indexed = []
        for annotations in (truth, detections):
            index = coco.COCO()
            index.dataset = {
                "images": [{"id": image} for image in range(num_images)],
                "categories": [{"id": label} for label in range(num_classes)],
                "annotations": annotations,
            }
            index.createIndex()
            indexed.append(index)
        evaluated = evaluation.COCOeval(*indexed, "bbox")
        evaluated.params.areaRng = [_EVERY_AREA]
        evaluated.params.areaRngLbl = ["all"]
        evaluated.params.maxDets = [_MAX_DETECTIONS]
        evaluated.evaluate()
        evaluated.accumulate()
    return evaluated.eval["precision"][..., 0, 0]


def _mean(precision):
    return float(np.mean(precision[precision > -1]))


def _import_pycocotools():
    try:
        return tuple(
            importlib.import_module(f"pycocotools.{name}")
            for name in ("coco", "cocoeval")
        )
    except ImportError as error:
        raise ImportError(
            "`coco_map` needs pycocotools. Run `pip install pycocotools`"
        ) from error
