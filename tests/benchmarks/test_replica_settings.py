"""Two replicas end as one does, or the page says why not."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from replica_setting_cases import SECTIONS

pytestmark = pytest.mark.backend("tensorflow")

ROOT = Path(__file__).parents[2]
RISKY = [
    '`reduction="sum"`, `sample_weight`',
    '`reduction="mean_with_sample_weight"`, `sample_weight`',
    '`ignore_class`, `reduction="sum"`',
    'losses of two outputs, one `reduction="sum"`',
    'XLA, `reduction="sum"`',
    "metric with a vector",
    "R2Score",
    "without samples",
    "mixed_float16",
    "gradient accumulation",
]


@pytest.mark.long
def test_the_riskiest_settings_are_as_the_page_says():
    """One test, since the workers of pytest-xdist would each run the script again."""
    result = subprocess.run(
        [
            sys.executable,
            ROOT / "benchmarks" / "replica_settings.py",
            *(f"--only={name}" for name in RISKY),
        ],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    problems = json.loads(result.stdout.splitlines()[-1])["problems"]
    for name in RISKY:
        assert any(name in setting for setting in problems)
    assert not any(problems.values()), problems


def test_every_setting_is_on_the_page():
    page = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
    names = [s.name for settings in SECTIONS.values() for s in settings]
    assert len(set(names)) == len(names) >= 20
    for name in names:
        assert f"\n| {name} | " in page
