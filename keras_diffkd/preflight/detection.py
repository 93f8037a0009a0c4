"""Checks the targets of detectors, which compute their own loss."""

import numpy as np


def check_boxes(findings, look, distiller, what="training data"):
    """Adds problems with boxes and labels, if the targets have them.

    Args:
        findings: `Findings`.
        look: `Look` at the data.
        distiller: The `Distiller` of a KerasHub detector.
        what: String, the name of the data in messages.
    """
    y, outputs = look.y, distiller.output_spec
    if not (isinstance(y, dict) and {"boxes", "labels"} <= set(y)):
        return
    if not (isinstance(outputs, dict) and "cls_logits" in outputs):
        return
    boxes, labels = y["boxes"], y["labels"]
    if boxes is None or labels is None:
        return  # Ragged.
    if boxes.ndim != 3 or boxes.shape[-1] != 4 or labels.shape != boxes.shape[:2]:
        findings.error(
            f"Boxes of the {what} must have the shape (batch, boxes, 4) and labels "
            f"(batch, boxes), padded with -1. Received: {boxes.shape} and "
            f"{labels.shape}. Pad the boxes and labels of images with fewer boxes."
        )
        return
    classes = outputs["cls_logits"].shape[-1]
    if labels.size and (labels.min() < -1 or labels.max() >= classes):
        findings.error(
            f"The labels of boxes must lie in 0 to {classes - 1}, or be -1 for "
            f"padding. Received: {labels.min():g} to {labels.max():g} in the {what}. "
            "Check the data set or the student's number of classes."
        )
    real = boxes[labels >= 0]
    if not np.isfinite(real).all():
        findings.error(
            f"The boxes of the {what} must be finite. Received: NaN or infinity. "
            "Remove those boxes, or check the preprocessing."
        )
    elif getattr(distiller.student, "bounding_box_format", None) == "xyxy":
        _check_corners(findings, real, what)


def _check_corners(findings, boxes, what):
    if not len(boxes):
        findings.warn(
            f"The first batches of the {what} have no boxes. Check the annotations "
            "and their labels: labels below 0 mark padding."
        )
    elif boxes.max() <= 1.5:
        findings.error(
            f"The boxes of the {what} must be in pixels (xyxy). Received: at most "
            f"{boxes.max():g}, as in relative coordinates. Multiply the boxes by the "
            "width and height of the image."
        )
    elif (boxes[:, 2:] < boxes[:, :2]).any():
        findings.error(
            f"The boxes of the {what} must be (left, top, right, bottom). Received: "
            "boxes with right < left or bottom < top. If they are (x, y, width, "
            "height), convert them."
        )
