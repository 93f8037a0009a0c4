"""Scripts that tests run in a process of their own."""

import json
import os
import subprocess
import sys


def run_script(path):
    """Runs a Python script, which must succeed; returns the JSON that it prints."""
    result = subprocess.run(
        [sys.executable, path],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)
