"""The step under MirroredStrategy: two logical CPU devices against one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.backend("tensorflow")
TESTS = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def results():
    result = subprocess.run(
        [sys.executable, TESTS / "train_steps" / "mirrored_script.py"],
        env={**os.environ, "PYTHONPATH": str(TESTS), "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.mark.parametrize("name", ["two", "two_xla"])
def test_two_replicas_train_as_one(results, name):
    for ours, theirs in zip(
        results[name]["weights"], results["one"]["weights"], strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)
    for log, value in results["one"]["logs"].items():
        np.testing.assert_allclose(results[name]["logs"][log], value, rtol=1e-4)


def test_moving_statistics_are_the_same_on_every_replica(results):
    assert results["two_moving"]["moved"]
    for copies in results["two_moving"]["copies"]:
        assert len(copies) == 2
        np.testing.assert_array_equal(*copies)
        assert np.all(np.isfinite(copies[0]))
