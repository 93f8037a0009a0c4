"""Backups on JAX, wherever it is installed; `make test-jax` runs all tests on it."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.backend("tensorflow")
@pytest.mark.skipif(
    importlib.util.find_spec("jax") is None,
    reason="JAX is not installed: pip install '.[jax]'",
)
def test_a_training_on_jax_goes_on_in_the_middle_of_an_epoch():
    test = "test_several_steps_per_execution[2]"
    result = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"),
            f"{Path(__file__).with_name('test_training_backup.py')}::{test}",
        ],
        env={**os.environ, "KERAS_BACKEND": "jax"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout
    assert "1 passed" in result.stdout
