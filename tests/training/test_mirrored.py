"""The step under MirroredStrategy: two logical CPU devices against one."""

from pathlib import Path

import numpy as np
import pytest
from helpers.scripts import run_script

pytestmark = pytest.mark.backend("tensorflow")


def check_two_replicas_train_as_one(results, name, alone):
    """Weights, all logs, validation on uneven batches, predictions."""
    ours, theirs = results[name], results[alone]
    for a, b in zip(ours["weights"], theirs["weights"], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    assert set(ours["logs"]) == set(theirs["logs"])
    assert {"diffkd/distill", "val_loss", "val_accuracy"} < set(ours["logs"])
    for log, value in theirs["logs"].items():
        np.testing.assert_allclose(ours["logs"][log], value, rtol=1e-4, err_msg=log)
    np.testing.assert_allclose(ours["outputs"], theirs["outputs"], rtol=1e-3, atol=1e-4)


def check_replicas_draw_different_noise(results):
    first, second = results["noise"]
    assert first > 0
    assert second > 0
    assert abs(first - second) > 1e-3


def check_what_is_assigned_ends_as_on_one_replica(results):
    (kernel, calls), (of_two, calls_of_two) = results["assigned"]
    np.testing.assert_allclose(of_two, kernel, rtol=1e-4)
    assert calls == calls_of_two == 2
    for draws in results["global_noise"]:
        assert len(set(draws)) == 4  # New in every step


def check_an_overflow_on_one_replica_skips_the_step_on_all(results):
    assert results["overflow"]["unchanged"]
    assert results["overflow"]["scale"] == 0.5
    assert results["overflow"]["skipped_steps"] == [1.0]
    assert np.isfinite(results["overflow"]["loss"])


def check_a_step_that_is_not_finite_on_one_replica_is_applied_on_none(results):
    result = results["not_finite"]
    assert result["unchanged"]
    assert "step 1 of epoch 1, on replica 1" in result["said"]
    assert "First value not finite: the inputs (sample 5 of 8)" in result["said"]
    assert result["size"] == 8
    assert np.isfinite(result["loss"])


def check_two_replicas_train_in_int8_as_one(results):
    for of_one, of_two in results["quantized"]:
        np.testing.assert_allclose(of_two["ranges"], of_one["ranges"], rtol=1e-3)
        for a, b in zip(of_one["weights"], of_two["weights"], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


def check_what_does_not_fit_is_named(results, case, said):
    with pytest.raises(ValueError, match=said):
        raise ValueError(results["errors"][case])


@pytest.mark.long
def test_replicas_and_xla_change_nothing():
    """One test, since the workers of pytest-xdist would each run the script again."""
    results = run_script(Path(__file__).with_name("mirrored_script.py"))
    check_two_replicas_train_as_one(results, "two", "one")
    check_two_replicas_train_as_one(results, "two_xla", "one")
    check_two_replicas_train_as_one(results, "two_synchronized", "one_synchronized")
    check_replicas_draw_different_noise(results)
    check_what_is_assigned_ends_as_on_one_replica(results)
    check_an_overflow_on_one_replica_skips_the_step_on_all(results)
    check_a_step_that_is_not_finite_on_one_replica_is_applied_on_none(results)
    check_two_replicas_train_in_int8_as_one(results)
    for case, said in (
        ("outside", "created outside the strategy's scope.*inside `with strategy"),
        ("student_outside", "The student .* created outside.*inside `with strategy"),
        ("synchronized", "jit_compile=True cannot.*synchronized=True.*auto"),
    ):
        check_what_does_not_fit_is_named(results, case, said)
