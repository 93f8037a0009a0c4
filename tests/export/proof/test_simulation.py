"""Comparing int8 files with what training simulated."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from keras_diffkd.export.proof.simulation import Simulation, compare_with_simulation
from keras_diffkd.export.records.results import Thresholds
from keras_diffkd.export.serving.predictions import Prediction


class RandomSamples(list):
    is_random = True


def compared(outputs, simulated):
    ranges = {"image": [0.0, 1.0]}
    reference = SimpleNamespace(
        simulations={
            json.dumps(ranges): Simulation(simulated, dict.fromkeys(simulated, 0.1))
        },
        predictions=dict.fromkeys(simulated, Prediction()),
        samples=RandomSamples(),
    )
    entry = SimpleNamespace(quantization={"ranges": ranges})
    return compare_with_simulation(entry, outputs, reference, Thresholds())


def test_steps_and_classes():
    simulated = {"logits": np.array([[1.0, 0.0], [0.0, 0.1]])}
    found, reasons = compared({"logits": simulated["logits"][:, ::-1]}, simulated)
    assert (found.mean_steps, found.max_steps) == pytest.approx((5.5, 10.0))
    assert found.agreement == 0.0
    assert "is 5.50 int8 steps from the simulated student" in reasons[0]


def test_of_a_detector_anchors_on_background_are_no_predictions():
    # The sigmoid of -3 is a score of 0.047, and weaker ones are never shown.
    simulated = {
        "bbox_regression": np.zeros((1, 3, 4)),
        "cls_logits": np.array([[[2.0, -4.0], [-3.0, -3.1], [-1.0, -6.0]]]),
    }
    other = np.array([[[2.0, -4.0], [-3.1, -3.0], [-6.0, -1.0]]])
    found, _ = compared(simulated | {"cls_logits": other}, simulated)
    assert found.agreement == 0.5
    background = simulated | {"cls_logits": np.full((1, 3, 2), -4.0)}
    found, _ = compared(background, background)
    assert found.agreement is None
