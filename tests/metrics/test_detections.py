import importlib
import types

import keras
import numpy as np
import pytest

from keras_diffkd.metrics import coco_map, detections
from keras_diffkd.models import build_model

pytest.importorskip("tensorflow")
# The name in the package is that of the function.
module = importlib.import_module("keras_diffkd.metrics.detections")

SHAPE = (64, 48, 3)
CLASSES = 3


@pytest.fixture
def detector():
    return build_model("retinanet_scenes_student", SHAPE, CLASSES)


def anchors_of(detector):
    levels = detector.anchor_generator(np.zeros((1, *SHAPE), "float32"))
    return np.concatenate([np.array(level) for level in levels.values()])


def decode(anchors, deltas):
    """Boxes from deltas of center, width and height (arXiv 1506.01497, section 3.1)."""
    size = anchors[:, 2:] - anchors[:, :2]
    center = anchors[:, :2] + size / 2 + deltas[..., :2] * size
    half = np.exp(deltas[..., 2:]) * size / 2
    boxes = np.concatenate([center - half, center + half], axis=-1)
    return np.clip(boxes, 0, [SHAPE[1], SHAPE[0]] * 2)


def overlap(box, boxes):
    sides = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    both = np.prod(np.maximum(sides, 0), axis=-1)
    areas = [np.prod(b[..., 2:] - b[..., :2], axis=-1) for b in (box, boxes)]
    return both / np.maximum(areas[0] + areas[1] - both, 1e-9)


def suppress(boxes, scores, iou_threshold, score_threshold):
    """Returns `(score, class, box)` of what is left of an image, best first."""
    kept = []
    for label in range(scores.shape[-1]):
        of_class = []
        for index in np.argsort(-scores[:, label]):
            if scores[index, label] <= score_threshold:
                break
            others = np.array([box for _, _, box in of_class]).reshape(-1, 4)
            if (overlap(boxes[index], others) <= iou_threshold).all():
                of_class.append((scores[index, label], label, boxes[index]))
        kept += of_class
    return sorted(kept, key=lambda detection: -detection[0])


@pytest.mark.parametrize("chunk", [1, 2**24])
@pytest.mark.parametrize(("count", "score"), [(100, 0.6), (7, 0.05)])
def test_against_numpy(detector, chunk, count, score, rng, monkeypatch):
    monkeypatch.setattr(module, "_CHUNK", chunk)
    anchors = anchors_of(detector)
    deltas = rng.normal(0, 0.3, (3, len(anchors), 4)).astype("float32")
    logits = rng.normal(0, 1, (3, len(anchors), CLASSES)).astype("float32")
    outputs = {"bbox_regression": deltas, "cls_logits": logits}
    received = detections(outputs, detector, count, 0.4, score)
    assert [a.dtype for a in received] == ["float32", "float32", "int32"]
    for image, (boxes, scores, classes) in enumerate(zip(*received, strict=True)):
        probabilities = 1 / (1 + np.exp(-logits[image]))
        kept = suppress(decode(anchors, deltas[image]), probabilities, 0.4, score)
        kept = kept[:count]
        found = len(kept)
        assert found > 3
        np.testing.assert_allclose(scores[:found], [k[0] for k in kept], rtol=1e-5)
        np.testing.assert_array_equal(classes[:found], [k[1] for k in kept])
        np.testing.assert_allclose(boxes[:found], [k[2] for k in kept], atol=1e-3)
        assert (boxes[found:] == -1).all()
        assert (scores[found:] == 0).all()
        assert (classes[found:] == -1).all()


def test_what_a_detector_was_trained_for_is_what_it_gives(detector):
    # The targets that KerasHub trains it for are the perfect outputs.
    boxes = [[[10, 7, 24, 27], [24, 38, 40, 58]], [[9, 22, 24, 42], [-1] * 4]]
    boxes = np.array(boxes)
    labels = np.array([[0, 2], [1, -1]])
    deltas, classes = detector.label_encoder(
        images=np.zeros((2, *SHAPE), "float32"),
        gt_boxes=boxes.astype("float32"),
        gt_classes=labels,
    )
    deltas, classes = np.array(deltas), np.array(classes).reshape(2, -1)
    hot = classes[..., None] == np.arange(CLASSES)
    deltas = np.where(hot.any(axis=-1, keepdims=True), deltas, 0.0)
    outputs = {"bbox_regression": deltas, "cls_logits": np.where(hot, 5.0, -5.0)}
    found = detections(outputs, detector)
    assert np.sum(found[2] >= 0) == 3
    targets = {"boxes": boxes, "labels": labels}
    assert coco_map(*found, targets, CLASSES)["mAP"] == pytest.approx(1.0)


def test_outputs_of_the_detector_and_of_half_precision(detector, rng):
    images = rng.normal(size=(2, *SHAPE)).astype("float32")
    outputs = detector(images, training=False)
    boxes, scores, _ = detections(outputs, detector, 10, score_threshold=0.0)
    assert boxes.shape == (2, 10, 4)
    assert (np.diff(scores) <= 0).all()
    halves = {k: keras.ops.cast(v, "bfloat16") for k, v in outputs.items()}
    _, coarse, _ = detections(halves, detector, 10, score_threshold=0.0)
    np.testing.assert_allclose(coarse, scores, rtol=0.1)


def test_a_detector_that_gives_probabilities(detector, rng):
    anchors = len(anchors_of(detector))
    logits = rng.normal(size=(1, anchors, CLASSES)).astype("float32")
    outputs = {"bbox_regression": np.zeros((1, anchors, 4)), "cls_logits": logits}
    expected = detections(outputs, detector)
    detector.activation = keras.activations.sigmoid
    outputs["cls_logits"] = 1 / (1 + np.exp(-logits))
    for ours, theirs in zip(detections(outputs, detector), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_errors(detector):
    anchors = len(anchors_of(detector))
    outputs = {
        "bbox_regression": np.zeros((1, anchors, 4)),
        "cls_logits": np.zeros((1, anchors - 1, CLASSES)),
    }
    with pytest.raises(ValueError, match=rf"\(images, {anchors}, classes\)"):
        detections(outputs, detector)
    nothing = {name: array[:0] for name, array in outputs.items()}
    with pytest.raises(ValueError, match="at least one image"):
        detections(nothing, detector)
    anything = types.SimpleNamespace(inputs=[keras.Input((None, 48, 3))])
    with pytest.raises(ValueError, match=r"\(None, 48, 3\)"):
        detections(outputs, anything)
