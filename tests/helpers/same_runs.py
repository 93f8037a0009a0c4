"""Compares trainings that must end the same."""

import numpy as np
import pytest
from helpers.digit_networks import read_weights
from helpers.tensorboard_events import events

from keras_diffkd.recipes.run.metrics_log import read_metrics


def check_same_run(straight, resumed):
    """Checks logs, weights and TensorBoard events of two run folders."""
    logs = [read_metrics(run / "metrics.jsonl") for run in (straight, resumed)]
    for ours, theirs in zip(*logs, strict=True):
        assert set(ours) == set(theirs)
        for name in set(ours) - {"seconds"}:
            assert ours[name] == pytest.approx(theirs[name], rel=1e-5), name
    students = [read_weights(run / "student.keras") for run in (straight, resumed)]
    for ours, theirs in zip(*students, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)
    assert set(events(resumed / "tensorboard" / "train")) == set(
        events(straight / "tensorboard" / "train")
    )
