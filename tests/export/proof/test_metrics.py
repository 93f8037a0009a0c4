import numpy as np
import pytest

from keras_diffkd.export.proof.metrics import (
    accuracy,
    check_metrics,
    compare_metrics,
    measure,
)
from keras_diffkd.export.serving.predictions import Prediction

OUTPUTS = {"logits": np.array([[1.0, 0.0], [0.0, 1.0], [2.0, 0.0], [0.5, 0.0]])}


def test_accuracy_by_default():
    labels = np.array([0, 1, 1, 0])
    assert measure(None, OUTPUTS, labels) == {"accuracy": 0.75}
    assert measure(None, OUTPUTS, None) == {"accuracy": None}
    probability = {"logits": Prediction("threshold", 0.5, True)}
    outputs = {"logits": np.array([[0.4], [0.6]])}
    assert accuracy(outputs, np.array([0, 1]), probability) == 1.0


def test_own_metrics_get_outputs_and_targets():
    targets = {"means": np.full(4, 0.5)}

    def metrics(outputs, given):
        assert given is targets
        return {"distance": np.float32(outputs["logits"].mean()) - 0.5, "count": 4}

    assert measure(metrics, OUTPUTS, targets) == {"distance": 0.0625, "count": 4.0}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (0.5, "to return a dict.*0.5 of type float"),
        ({}, "at least one"),
        ({"mAP": np.ones(3)}, "finite floats.*ndarray for 'mAP'"),
        ({"mAP": float("nan")}, "finite floats.*nan of type float for 'mAP'"),
        ({"mAP": True}, "type bool"),
        ({"latency_ms": 1.0}, "itself .*Received: 'latency_ms'"),
        ({3: 1.0}, "Received: 3"),
    ],
)
def test_unusable_values(values, message):
    with pytest.raises(ValueError, match=message):
        measure(lambda outputs, targets: values, OUTPUTS, None)


def test_unusable_callable():
    check_metrics(None)
    with pytest.raises(ValueError, match="callable .*'accuracy' of type str"):
        check_metrics("accuracy")


def test_metrics_may_be_a_tenth_of_a_point_apart():
    reference = {"mAP": 0.5, "mAP50": 0.8}
    assert compare_metrics({"mAP": 0.501, "mAP50": 0.799}, reference) == []
    assert compare_metrics({"mAP": 0.498, "mAP50": 0.8}, reference) == [
        "metric 'mAP' is 0.4980 and the Keras student's 0.5000: more than 0.001 apart"
    ]
    assert "['mAP'] for the artifact" in compare_metrics({"mAP": 0.5}, reference)[0]
