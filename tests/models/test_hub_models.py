"""Detectors and segmenters of the zoo."""

import keras
import numpy as np
import pytest

from keras_diffkd.features.taps import call_with_taps
from keras_diffkd.models import build_model, load_model

SHAPE = (64, 64, 3)


def test_a_retinanet_starts_where_the_paper_says():
    detector = build_model("retinanet_scenes_teacher", SHAPE, 10)
    classes = detector.classification_head.prediction_layer.bias
    probabilities = 1 / (1 + np.exp(-np.array(classes)))
    np.testing.assert_allclose(probabilities, 0.01, rtol=1e-5)
    np.testing.assert_array_equal(detector.box_head.prediction_layer.bias, 0.0)
    pyramid = detector.backbone.feature_pyramid
    p3, p4 = (np.array(c.kernel) for c in pyramid.output_conv_layers.values())
    assert np.abs(p3 - p4).max() > 0.01


@pytest.mark.parametrize("name", ["retinanet_scenes_student", "retinanet_resnet18"])
def test_a_retinanet_gives_boxes_scores_and_a_pyramid(name, rng):
    detector = build_model(name, SHAPE, 10)
    x = rng.normal(size=(1, *SHAPE)).astype("float32")
    outputs, features = call_with_taps(detector, x, ["backbone/fpn"], training=False)
    anchors = outputs["bbox_regression"].shape[1]
    assert outputs["bbox_regression"].shape == (1, anchors, 4)
    assert outputs["cls_logits"].shape == (1, anchors, 10)
    levels = features["backbone/fpn"]
    last = 4 if "scenes" in name else 7
    assert list(levels) == [f"P{level}" for level in range(3, last + 1)]
    for level, feature in levels.items():
        side = max(1, 64 // 2 ** int(level[1:]))
        assert feature.shape == (1, side, side, 256)


@pytest.mark.parametrize("name", ["deeplabv3_scenes_student", "deeplabv3_resnet18"])
def test_a_deeplab_gives_logits_of_pixels_and_pooled_features(name, rng):
    segmenter = build_model(name, SHAPE, 11)
    tap = "backbone/spatial_pyramid_pooling"
    x = rng.normal(size=(1, *SHAPE)).astype("float32")
    outputs, features = call_with_taps(segmenter, x, [tap], training=False)
    assert outputs.shape == (1, 64, 64, 11)
    side = 4 if "scenes" in name else 2
    assert features[tap].shape == (1, side, side, 256)


@pytest.mark.parametrize(
    ("name", "classes"),
    [("retinanet_scenes_student", 10), ("deeplabv3_scenes_student", 11)],
)
def test_save_and_load(name, classes, rng, tmp_path):
    model = build_model(name, SHAPE, classes)
    path = tmp_path / "model.keras"
    model.save(path)
    loaded = load_model(str(path), input_shape=SHAPE, num_classes=classes)
    x = rng.normal(size=(1, *SHAPE)).astype("float32")
    for ours, theirs in zip(
        keras.tree.flatten(model(x, training=False)),
        keras.tree.flatten(loaded(x, training=False)),
        strict=True,
    ):
        np.testing.assert_array_equal(ours, theirs)
    with pytest.raises(ValueError, match="another number of classes"):
        load_model(str(path), num_classes=classes + 1)


def test_unknown_presets_of_the_tasks():
    unknown = "not the name of an available"
    with pytest.raises(ValueError, match=f"{unknown} ObjectDetector.*_resnet50"):
        load_model("hub:retinanet_resnet5_fpn_coco", task="detection")
    with pytest.raises(ValueError, match=f"{unknown} ImageSegmenter.*_resnet50"):
        load_model("hub:deeplab_v3_plus_resnet5_pascalvoc", task="segmentation")
