"""Scripts that tests run in a process of their own."""

import contextlib
import io
import json
import logging
import os
import runpy
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest
from absl import flags
from absl.testing import flagsaver

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


def run_example_here(path, *arguments):
    """Runs an example in this process, where TensorFlow is imported already.

    Args:
        path: The script, which runs `main` with the flags that it defines.
        *arguments: Its arguments.

    Returns:
        Its output.
    """
    out, own = io.StringIO(), flags.FlagValues()
    for module, defined in flags.FLAGS.flags_by_module_dict().items():
        # Flags of the commands may have the names of the example's.
        for flag in defined if module.startswith("absl.") else ():
            own[flag.name] = flag
    with (
        flagsaver.flagsaver(),
        mock.patch.dict(vars(flags.FLAGS), vars(own), clear=True),
        mock.patch.object(sys, "argv", [str(path), *arguments]),
        mock.patch.object(logging.root, "handlers", []),  # absl puts its own there.
        contextlib.redirect_stdout(out),
        pytest.raises(SystemExit) as stopped,
    ):
        runpy.run_path(str(path), run_name="__main__")
    assert not stopped.value.code
    return out.getvalue()


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
