"""A kill in a save and one at any moment; `make test-kills` does many."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.long
@pytest.mark.backend("tensorflow")
def test_killed_trainings_end_like_undisturbed_ones():
    script = Path(__file__).with_name("kill_anywhere.py")
    combination = "mixed_float16 x1"
    result = subprocess.run(
        [sys.executable, script, "--kills=2", "--combinations", combination],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"{combination}: 2 kills in " in result.stdout
