"""The step under MirroredStrategy: two logical CPU devices against one."""

import os
from pathlib import Path

import pytest
from helpers.replicas import PARTS
from helpers.scripts import TESTS, run_script

pytestmark = pytest.mark.backend("tensorflow")


@pytest.mark.long
def test_two_replicas_train_as_one(subtests):
    """One test, since the workers of pytest-xdist would each run the script again."""
    results = run_script(
        Path(__file__).with_name("replicas_script.py"),
        PYTHONPATH=f"{TESTS}{os.pathsep}{TESTS.parent / 'benchmarks'}",
    )
    for name, part in PARTS.items():
        with subtests.test(name):
            part.check(results[name])
