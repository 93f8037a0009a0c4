"""Optimizers on two replicas: they clip the gradients of the global batch."""

from pathlib import Path

import numpy as np
import pytest
from helpers.scripts import run_script

pytestmark = pytest.mark.backend("tensorflow")


def test_two_replicas_clip_as_one():
    """One test, since the workers of pytest-xdist would each run the script again."""
    results = run_script(Path(__file__).with_name("replica_optimizers_script.py"))
    trained = {
        **results["trained"],
        "weights of losses": results["weights of losses"],
    }
    for name, result in trained.items():
        assert result["optimizer_is_as_before"], name
        for one, two in zip(result["one"], result["two"], strict=True):
            np.testing.assert_allclose(one, two, rtol=1e-3, atol=1e-6, err_msg=name)
    # Three steps of at most 0.1 * 0.01 each.
    moved = results["trained"]["global_clipnorm"]["two"]
    assert np.sqrt(sum(np.square(m).sum() for m in moved)) <= 0.003 * 1.001
    for name, said in results["refused"].items():
        assert f"{name}=2 on 2 replicas" in said
