import keras
import numpy as np
import pytest

from keras_diffkd.export import decoded
from keras_diffkd.export.proof.matching import match
from keras_diffkd.export.serving.detection import describe_detection


class GiveBoxes:
    """In place of KerasHub's suppression: the boxes that it would get."""

    bounding_box_format = "xyxy"

    def __call__(self, boxes, scores, images):
        return {"boxes": boxes}


def test_boxes_are_those_of_keras_hub(helpers, monkeypatch, rng):
    # Not square, so that no axis is another's.
    detector = helpers.make_scenes_model("retinanet_scenes_student", (64, 96, 3), 10)
    images = rng.standard_normal((3, 64, 96, 3)).astype("float32")
    raw = detector(images, training=False)
    monkeypatch.setattr(detector, "_prediction_decoder", GiveBoxes())
    expected = detector.decode_predictions(raw, images)["boxes"]
    expected = np.clip(np.asarray(expected) / [96, 64, 96, 64], 0, 1)

    outputs = decoded(detector)(images, training=False)

    np.testing.assert_allclose(outputs["boxes"], expected, atol=1e-6)
    assert 0 < np.mean((expected > 0) & (expected < 1)) < 1
    for name in ("bbox_regression", "cls_logits"):
        np.testing.assert_allclose(outputs[name], raw[name], atol=1e-5)
    scores = 1 / (1 + np.exp(-np.asarray(raw["cls_logits"])))
    np.testing.assert_allclose(outputs["scores"], scores, atol=1e-6)


def overlap(box, others):
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    intersection = np.prod(np.maximum(high - low, 0), axis=-1)
    areas = [np.prod(b[..., 2:] - b[..., :2], axis=-1) for b in (box, others)]
    return intersection / np.maximum(areas[0] + areas[1] - intersection, 1e-12)


def suppress(boxes, scores, iou_threshold, score_threshold, max_detections):
    """Non-maximum suppression within each class, of one image."""
    kept = []
    for label in range(scores.shape[-1]):
        left = list(np.argsort(-scores[:, label]))
        while left and scores[left[0], label] > score_threshold:
            first = left.pop(0)
            kept.append((scores[first, label], label, boxes[first]))
            near = overlap(boxes[first], boxes[left]) if left else []
            left = [
                i for i, iou in zip(left, near, strict=True) if iou <= iou_threshold
            ]
    kept = sorted(kept, key=lambda found: -found[0])[:max_detections]
    return {
        "boxes": np.array([box for _, _, box in kept])[None],
        "scores": np.array([score for score, _, _ in kept])[None],
        "classes": np.array([label for _, label, _ in kept])[None],
        "num_detections": np.array([len(kept)]),
    }


def test_suppression_within_each_class(detector, scenes):
    nms = {"max_detections": 30, "iou_threshold": 0.3, "score_threshold": 0.9}
    outputs = decoded(detector, nms)(scenes, training=False)
    outputs = {name: output.numpy() for name, output in outputs.items()}
    raw = decoded(detector)(scenes, training=False)

    assert outputs["boxes"].shape == (6, 30, 4)
    assert outputs["classes"].dtype == outputs["num_detections"].dtype == "int32"
    assert np.all(np.diff(outputs["scores"], axis=-1) <= 0)
    assert 0 < outputs["num_detections"].min() < outputs["num_detections"].max() == 30
    for index in range(len(scenes)):
        expected = suppress(
            raw["boxes"][index].numpy(), raw["scores"][index].numpy(), 0.3, 0.9, 30
        )
        found = {name: output[index, None] for name, output in outputs.items()}
        assert found["num_detections"] == expected["num_detections"]
        assert match(found, expected, 1e-6)[1] == 1.0


def test_file_of_a_decoded_detector(detector, scenes, tmp_path):
    model = decoded(detector, {"score_threshold": 0.2})
    model.save(tmp_path / "decoded.keras")
    loaded = keras.models.load_model(tmp_path / "decoded.keras")

    outputs = loaded(scenes, training=False)

    for name, expected in model(scenes, training=False).items():
        np.testing.assert_array_equal(outputs[name], expected)
    assert describe_detection(loaded) == {
        "box_format": "rel_xyxy",
        "nms": {"max_detections": 100, "iou_threshold": 0.5, "score_threshold": 0.2},
    }


def test_description(detector, student):
    assert describe_detection(decoded(detector))["nms"] is None
    assert describe_detection(student) is None


@pytest.mark.parametrize(
    ("nms", "message"),
    [
        (0.5, "None or a dict"),
        ({"iou": 0.5}, "'iou_threshold'.*Received: nms={'iou': 0.5}"),
        ({"max_detections": 0}, "positive integer"),
        ({"iou_threshold": 50}, "between 0 and 1"),
    ],
)
def test_unusable_suppression(nms, message, detector):
    with pytest.raises(ValueError, match=message):
        decoded(detector, nms)


def test_only_detectors_are_decoded(student):
    with pytest.raises(ValueError, match="RetinaNetObjectDetector.*Functional"):
        decoded(student)
