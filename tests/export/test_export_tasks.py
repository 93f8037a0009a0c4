"""Detectors and segmenters from a Keras model to artifacts."""

import json

import keras
import numpy as np
import onnxruntime
import pytest
import tensorflow as tf

from keras_diffkd.export import (
    VerificationError,
    decoded,
    export_student,
    format_table,
    verify,
)

CLASSES = [str(digit) for digit in range(10)]
NMS = {"score_threshold": 0.6}


def detection_metrics(outputs, targets):
    """Something like recall, of raw outputs and of detections alike."""
    best = outputs["scores"].reshape(len(targets["labels"]), -1).max(axis=-1)
    nearest = np.abs(outputs["boxes"][:, :, None] - targets["boxes"][:, None])
    return {
        "score": float(best.mean()),
        "found": float(np.mean(nearest.max(-1).min(1) < 0.2)),
    }


@pytest.fixture(scope="module")
def objects():
    rng = np.random.default_rng(3)
    corners = np.sort(rng.random((6, 3, 2, 2)), axis=2)
    return {
        "boxes": corners.reshape(6, 3, 4).astype("float32"),
        "labels": rng.integers(0, 10, (6, 3)),
    }


@pytest.fixture(scope="module")
def suppressed(detector, scenes, objects, tmp_path_factory):
    """A detector with its suppression, which no test changes."""
    folder = tmp_path_factory.mktemp("suppressed") / "export"
    export_student(
        detector,
        folder,
        ["saved_model", "onnx"],
        samples=(scenes, objects),
        labels=CLASSES,
        metrics=detection_metrics,
        nms=NMS,
    )
    return folder


def run_onnx(folder, images):
    session = onnxruntime.InferenceSession(str(folder / "student.onnx"))
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"images": images}), strict=True))


def test_detector(detector, scenes, objects, tmp_path):
    folder = tmp_path / "export"

    manifest = export_student(
        detector,
        folder,
        samples=(scenes, objects),
        labels=CLASSES,
        metrics=detection_metrics,
    )

    assert manifest["labels"] == CLASSES
    assert manifest["detection"] == {"box_format": "rel_xyxy", "nms": None}
    assert {spec["name"]: spec["shape"] for spec in manifest["outputs"]} == {
        "bbox_regression": [None, 160, 4],
        "boxes": [None, 160, 4],
        "cls_logits": [None, 160, 10],
        "scores": [None, 160, 10],
    }
    expected = decoded(detector)(scenes, training=False)
    found = manifest["verification"]
    values = detection_metrics(
        {name: output.numpy() for name, output in expected.items()}, objects
    )
    assert found["metrics"] == ["score", "found"]
    assert found["keras_found"] == pytest.approx(values["found"])
    for name in ("saved_model", "onnx", "tflite"):
        measured = manifest["artifacts"][name]["verification"]
        assert measured["max_difference"] <= 1e-4
        assert measured["score"] == pytest.approx(values["score"], abs=1e-3)
        assert measured["agreement"] > 0.998
        assert "accuracy" not in measured
    for name, output in run_onnx(folder, scenes[:3]).items():
        np.testing.assert_allclose(output, expected[name][:3], atol=1e-4)
    report = verify(folder, detector, (scenes, objects), metrics=detection_metrics)
    assert report["artifacts"]["tflite"]["found"] == pytest.approx(values["found"])
    assert "found" in format_table(report).splitlines()[0]
    assert verify(folder, decoded(detector), scenes)["metrics"] == ["accuracy"]


def test_segmenter(segmenter, scenes, tmp_path):
    folder = tmp_path / "export"
    logits = segmenter(scenes, training=False).numpy()
    masks = logits.argmax(-1)
    masks[:, :16] = 0
    expected = np.mean(logits.argmax(-1) == masks)
    classes = ["background", *CLASSES]

    def error(outputs, targets):
        return {"error": float(np.mean(outputs["logits"].argmax(-1) != targets))}

    manifest = export_student(
        segmenter, folder, samples=(scenes, masks), labels=classes, metrics=error
    )

    assert manifest["outputs"] == [
        {"name": "logits", "shape": [None, 64, 64, 11], "dtype": "float32"}
    ]
    for entry in manifest["artifacts"].values():
        assert entry["verification"]["max_difference"] <= 1e-4
        assert entry["verification"]["error"] == pytest.approx(1 - expected, abs=1e-3)
        assert entry["verification"]["agreement"] > 0.999
    report = verify(folder, segmenter, (scenes, masks))
    assert report["keras"]["accuracy"] == pytest.approx(expected)
    assert report["artifacts"]["onnx"]["accuracy"] == pytest.approx(expected, abs=1e-3)
    with pytest.raises(ValueError, match="10 labels for outputs of shape.*64, 64, 11"):
        export_student(segmenter, tmp_path / "other", labels=CLASSES)


def test_suppression_in_saved_model_and_onnx(suppressed, detector, scenes, objects):
    report = verify(suppressed, detector, (scenes, objects), metrics=detection_metrics)

    assert set(report["artifacts"]) == {"saved_model", "onnx"}
    for result in report["artifacts"].values():
        assert result["agreement"] == 1.0
        assert result["max_difference"] <= 1e-4
    manifest = json.loads((suppressed / "manifest.json").read_text())
    assert manifest["detection"]["nms"]["score_threshold"] == 0.6
    assert manifest["labels"] == CLASSES
    model = tf.saved_model.load(str(suppressed / "saved_model"))
    for size in (1, 5):
        expected = decoded(detector, NMS)(scenes[:size], training=False)
        outputs = run_onnx(suppressed, scenes[:size])
        signature = model.signatures["serving_default"]
        for found in (outputs, signature(images=tf.constant(scenes[:size]))):
            for name in ("num_detections", "scores"):
                np.testing.assert_allclose(found[name], expected[name], atol=1e-4)
        assert np.all(outputs["num_detections"] > 0)


def test_suppression_that_leaves_nothing(detector, scenes, tmp_path):
    # The one image with the highest score has detections, the others none.
    best = np.asarray(decoded(detector)(scenes)["scores"]).max(axis=(1, 2))
    threshold = float(np.sort(best)[-2:].mean())
    folder = tmp_path / "export"

    export_student(
        detector, folder, ["onnx"], samples=scenes, nms={"score_threshold": threshold}
    )

    outputs = run_onnx(folder, scenes)
    assert np.count_nonzero(outputs["num_detections"]) == 1
    nothing = run_onnx(folder, scenes[best < best.max()])
    assert all(np.all(output == 0) for output in nothing.values())


def test_detections_of_another_detector_fail(suppressed, helpers, scenes):
    other = helpers.make_scenes_model("retinanet_scenes_student", (64, 64, 3), 10)
    bias = other.box_head.prediction_layer.bias
    bias.assign(bias + 0.1)
    with pytest.raises(VerificationError, match="of the detections differ"):
        verify(suppressed, other, scenes)


def test_plain_student_of_an_export_with_other_outputs(suppressed, detector, scenes):
    with pytest.raises(VerificationError, match="outputs are boxes.*bbox_regression"):
        verify(suppressed, decoded(detector), scenes)


def test_half_precision_detector_is_rebuilt(helpers, scenes, tmp_path):
    keras.config.set_dtype_policy("mixed_bfloat16")
    half = helpers.make_scenes_model("retinanet_scenes_student", (64, 64, 3), 10)
    keras.config.set_dtype_policy("float32")

    manifest = export_student(
        half, tmp_path / "export", ["onnx"], samples=scenes[:2], nms=NMS
    )

    assert manifest["student"]["rebuilt_in_float32"]
    verify(tmp_path / "export", half, scenes[:2])


@pytest.mark.parametrize("formats", [["tflite"], ["saved_model", "tflite"]])
def test_suppression_is_not_for_tflite(formats, detector, tmp_path):
    with pytest.raises(ValueError, match="'tflite' without `nms`"):
        export_student(detector, tmp_path / "export", formats, nms=NMS)
    with pytest.raises(ValueError, match="'tflite' without `nms`"):
        export_student(decoded(detector, NMS), tmp_path / "export", formats)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"metrics": "mAP"}, "None or a callable"),
        ({"metrics": lambda outputs, targets: 0.5}, "to return a dict"),
        ({"nms": {}}, "Only a `keras_hub.models.RetinaNetObjectDetector`"),
        ({"labels": CLASSES}, "10 labels"),
    ],
)
def test_unusable_arguments_write_nothing(arguments, message, student, tmp_path):
    samples = (np.random.default_rng(0).random((4, 6, 6, 2)), np.zeros(4, int))
    with pytest.raises(ValueError, match=message):
        export_student(student, tmp_path / "export", samples=samples, **arguments)
    assert list(tmp_path.iterdir()) == []


def test_metric_that_an_artifact_misses(student, images, tmp_path):
    values = iter([0.5, 0.5, 0.4])

    with pytest.raises(VerificationError) as error:
        export_student(
            student,
            tmp_path / "export",
            ["saved_model", "onnx"],
            samples=(images, np.zeros(len(images))),
            metrics=lambda outputs, targets: {"mAP": next(values)},
        )

    assert error.value.report["failures"] == {
        "student.onnx": [
            "metric 'mAP' is 0.4000 and the Keras student's 0.5000: more than 0.001 "
            "apart"
        ]
    }
    assert error.value.report["artifacts"]["onnx"]["mAP"] == 0.4
    assert list(tmp_path.iterdir()) == []
