import sys

import numpy as np
import pytest

from keras_diffkd.metrics import coco_map

pytest.importorskip("pycocotools")

BOXES = np.array([[[0, 0, 10, 10], [20, 0, 30, 10]]], "float32")
LABELS = np.array([[1, 2]])
TARGETS = {"boxes": BOXES, "labels": LABELS}
SCORES = np.array([[0.9, 0.8]], "float32")
PERFECT = pytest.approx({"mAP": 1.0, "mAP50": 1.0})


def padded(array, count, filling):
    missing = [(0, 0), (0, count)] + [(0, 0)] * (array.ndim - 2)
    return np.pad(array, missing, constant_values=filling)


def test_perfect_detections_in_silence(capfd):
    assert coco_map(BOXES, SCORES, LABELS, TARGETS, 4) == PERFECT
    assert capfd.readouterr().out == ""


def test_filling_does_not_count():
    # Of boxes, what the scores say is none counts as little as what the classes say.
    boxes = padded(BOXES, 2, -1)
    scores = np.array([[0.9, 0.8, 0.0, 0.99]])
    classes = np.array([[1, 2, 1, -1]])
    targets = {"boxes": padded(BOXES, 3, -1), "labels": padded(LABELS, 3, -1)}
    received = coco_map(boxes, scores, classes, targets, 4)
    assert received == PERFECT


def test_images_are_kept_apart():
    boxes = BOXES.reshape(2, 1, 4)
    labels = np.array([[1], [1]])
    targets = {"boxes": boxes, "labels": labels}
    scores = np.array([[0.9], [0.8]])
    assert coco_map(boxes, scores, labels, targets, 2) == PERFECT
    assert coco_map(boxes[::-1], scores, labels, targets, 2)["mAP"] == 0.0


def test_one_of_two_classes_is_found():
    received = coco_map(BOXES[:, :1], SCORES[:, :1], LABELS[:, :1], TARGETS, 4)
    assert received == pytest.approx({"mAP": 0.5, "mAP50": 0.5})


def test_one_of_two_objects_of_a_class_is_found():
    targets = {"boxes": BOXES, "labels": np.array([[1, 1]])}
    received = coco_map(BOXES[:, :1], SCORES[:, :1], LABELS[:, :1], targets, 4)
    # 51 of the 101 recalls, 0 to 0.5, are reached, with precision 1.
    np.testing.assert_allclose(received["mAP"], 51 / 101)


def test_a_better_scored_wrong_box_halves_the_precision():
    boxes = np.array([[[50, 50, 60, 60], [0, 0, 10, 10]]])
    targets = {"boxes": BOXES[:, :1], "labels": [[1]]}
    received = coco_map(boxes, SCORES, [[1, 1]], targets, 4)
    np.testing.assert_allclose(received["mAP"], 0.5)
    received = coco_map(boxes[:, ::-1], SCORES, [[1, 1]], targets, 4)
    assert received == PERFECT


def test_the_wrong_class():
    received = coco_map(BOXES, SCORES, np.array([[2, 1]]), TARGETS, 4)
    assert received == {"mAP": 0.0, "mAP50": 0.0}


def test_a_shifted_box_counts_at_low_thresholds_only():
    targets = {"boxes": [[[0, 0, 10, 10]]], "labels": [[0]]}
    # 10 x 7.2 of 10 x 10: above 0.5, 0.55, 0.6, 0.65 and 0.7.
    received = coco_map([[[0, 0, 10, 7.2]]], [[0.9]], [[0]], targets, 1)
    np.testing.assert_allclose([received["mAP"], received["mAP50"]], [0.5, 1.0])


def test_nothing_is_found():
    nothing = {"mAP": 0.0, "mAP50": 0.0}
    assert coco_map(BOXES, np.zeros((1, 2)), LABELS, TARGETS, 4) == nothing
    empty = np.zeros((1, 0))
    assert coco_map(np.zeros((1, 0, 4)), empty, empty, TARGETS, 4) == nothing


def test_images_without_objects_count_what_is_found_in_them():
    boxes = np.repeat(BOXES[:, :1], 2, axis=0)
    targets = {"boxes": np.stack([BOXES[0, :1], -np.ones((1, 4))])}
    targets["labels"] = np.array([[1], [-1]])
    classes = np.array([[1], [1]])
    wrong_first = np.array([[0.5], [0.9]])
    received = coco_map(boxes, wrong_first, classes, targets, 4)
    np.testing.assert_allclose(received["mAP"], 0.5)
    none_there = np.array([[0.5], [0.0]])
    assert coco_map(boxes, none_there, classes, targets, 4) == PERFECT


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_boxes_and_scores_of_a_diverged_network(value):
    boxes = np.full_like(BOXES, value)
    assert coco_map(boxes, SCORES, LABELS, TARGETS, 4)["mAP50"] == 0.0
    scores = np.full_like(SCORES, np.nan)
    assert coco_map(BOXES, scores, LABELS, TARGETS, 4)["mAP50"] == 0.0


def test_errors():
    nothing = {"boxes": BOXES, "labels": np.full((1, 2), -1)}
    with pytest.raises(ValueError, match="No image has an object"):
        coco_map(BOXES, SCORES, LABELS, nothing, 4)
    with pytest.raises(ValueError, match="detections must be below.*class 2"):
        coco_map(BOXES, SCORES, LABELS, TARGETS, 2)
    with pytest.raises(ValueError, match="targets must be below.*class 2"):
        coco_map(BOXES, SCORES, np.zeros((1, 2), int), TARGETS, 2)
    with pytest.raises(ValueError, match=r"detections must have boxes of shape"):
        coco_map(BOXES[0], SCORES, LABELS, TARGETS, 4)
    with pytest.raises(ValueError, match="one score and one class"):
        coco_map(BOXES, SCORES[:, :1], LABELS, TARGETS, 4)
    twice = [np.repeat(array, 2, axis=0) for array in (BOXES, SCORES, LABELS)]
    with pytest.raises(ValueError, match="same images.*2 and 1"):
        coco_map(*twice, TARGETS, 4)


def test_without_pycocotools(monkeypatch):
    monkeypatch.setitem(sys.modules, "pycocotools.coco", None)
    with pytest.raises(ImportError, match="pip install pycocotools"):
        coco_map(BOXES, SCORES, LABELS, TARGETS, 4)
