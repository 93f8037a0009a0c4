"""Scripts that tests run in a process of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]


def run_example(path, *arguments):
    """Runs an example as a newcomer does; it must succeed. Returns its output.

    Args:
        path: The script.
        *arguments: Its arguments.
    """
    result = subprocess.run(
        [sys.executable, path, *arguments],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def run_script(path, *arguments, **environment):
    """Runs a Python script, which must succeed; returns the JSON that it prints.

    Args:
        path: The script; it may import `helpers`.
        *arguments: Its arguments.
        **environment: Variables beside those of this process.
    """
    result = subprocess.run(
        [sys.executable, path, *arguments],
        env={
            **os.environ,
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "PYTHONPATH": str(TESTS),
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)
