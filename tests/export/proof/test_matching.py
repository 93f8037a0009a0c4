import numpy as np
import pytest

from keras_diffkd.export.proof.comparison import are_detections, compare
from keras_diffkd.export.proof.matching import match


@pytest.fixture
def detections(rng):
    return {
        "boxes": rng.random((5, 8, 4)).astype("float32"),
        "scores": np.sort(rng.random((5, 8)).astype("float32"))[:, ::-1],
        "classes": rng.integers(0, 3, (5, 8)),
        "num_detections": np.array([8, 4, 1, 0, 8]),
    }


def test_order_does_not_matter_and_padding_neither(detections):
    order = [1, 0, *range(2, 8)]
    outputs = {
        name: array if array.ndim == 1 else array[:, order].copy()
        for name, array in detections.items()
    }
    # Swapped, the one detection of this image would be another.
    for name in ("boxes", "scores", "classes"):
        outputs[name][2] = detections[name][2]
        outputs[name][1:4, 5:] = 7
    outputs["scores"] += 1e-5

    measured, reasons = compare(outputs, detections, 1e-4)

    assert are_detections(outputs)
    assert reasons == []
    assert measured.agreement == 1.0
    assert measured.max_difference == pytest.approx(1e-5, rel=0.1)


@pytest.mark.parametrize("name", ["boxes", "scores", "classes", "num_detections"])
def test_a_detection_that_is_another(name, detections):
    outputs = {key: array.copy() for key, array in detections.items()}
    if name == "num_detections":
        outputs[name][0] -= 1
    else:
        outputs[name][0, 0] += 1

    _, share = match(outputs, detections, 1e-4)
    _, reasons = compare(outputs, detections, 1e-4)

    num_all = 41 if name == "num_detections" else 42
    assert share == pytest.approx(2 * 20 / num_all)
    assert "detections differ from the Keras student's by more than" in reasons[0]


def test_nothing_found_by_either(detections):
    nothing = {**detections, "num_detections": np.zeros(5, int)}
    measured, reasons = compare(nothing, nothing, 1e-4)
    assert reasons == []
    assert measured.agreement == 1.0
    assert measured.max_difference is None
    assert match(nothing, detections, 1e-4)[1] == 0.0
