"""A detector and a segmenter under MirroredStrategy, with XLA and without."""

from pathlib import Path

import numpy as np
import pytest
from helpers.scripts import run_script

pytestmark = pytest.mark.backend("tensorflow")


def check_same(ours, theirs):
    for a, b in zip(ours["weights"], theirs["weights"], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    assert set(ours["logs"]) == set(theirs["logs"])
    for log, value in theirs["logs"].items():
        np.testing.assert_allclose(ours["logs"][log], value, rtol=1e-4, err_msg=log)


def check_three_steps_are_the_same(results, task, run):
    before = results[task]["one"]["before"]
    alone = results[task]["one"]["three steps"]
    moved = [
        np.abs(np.subtract(a, b)).max()
        for a, b in zip(alone["weights"], before, strict=True)
    ]
    assert np.max(moved) > 1e-4
    check_same(results[task][run]["three steps"], alone)
    parts = {
        "detector": {"bbox_regression_loss", "cls_logits_loss", "diffkd/distill"},
        "segmenter": {"fitnet/distill", "kd/distill"},
    }
    assert parts[task] | {"loss", "task_loss"} <= set(alone["logs"])


def check_a_replica_without_samples_changes_nothing(results):
    alone = results["detector"]["one"]["idle"]
    check_same(results["detector"]["two"]["idle"], alone)
    assert "val_loss" in alone["logs"]


def check_a_detectors_loss_is_the_mean_of_the_replicas_losses(results):
    """Each divides by its own objects; in one batch, all are divided by all."""
    losses = results["losses of halves"]
    mean = (losses["first"] + losses["second"]) / 2
    np.testing.assert_allclose(losses["two"], mean, rtol=1e-5)
    assert abs(losses["one"] - mean) > 1e-3 * mean


def check_the_first_batch_may_be_split_unevenly(results):
    losses = results["losses of halves"]
    mean = (4 * losses["first"] + 3 * losses["rest"]) / 7
    np.testing.assert_allclose(losses["uneven"], mean, rtol=1e-5)


@pytest.mark.long
def test_replicas_and_xla_change_nothing():
    """One test, since the workers of pytest-xdist would each run the script again."""
    results = run_script(Path(__file__).with_name("mirrored_tasks_script.py"))
    check_three_steps_are_the_same(results, "detector", "two")
    check_three_steps_are_the_same(results, "detector", "one_xla")
    check_three_steps_are_the_same(results, "segmenter", "two_xla")
    check_a_replica_without_samples_changes_nothing(results)
    check_a_detectors_loss_is_the_mean_of_the_replicas_losses(results)
    check_the_first_batch_may_be_split_unevenly(results)
