"""What the README promises."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.long
@pytest.mark.backend("tensorflow")
def test_the_python_example_runs_as_it_stands(tmp_path):
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    result = subprocess.run(
        [sys.executable, "-c", example],
        cwd=tmp_path,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    for name in ("saved_model", "student.onnx", "student.tflite", "manifest.json"):
        assert (tmp_path / "exported" / name).exists()


def test_links_and_folders_exist():
    links = re.findall(r"\]\(([^)#]+)\)", README)
    folders = re.findall(r"^\| `(\w+/)`", README, re.MULTILINE)
    assert len(folders) == 7
    for path in (*folders, *(link for link in links if "://" not in link)):
        assert (ROOT / path).exists(), path


def test_the_commands_exist():
    named = set(re.findall(r"diffkd-[a-z-]+", README))
    setup = (ROOT / "setup.py").read_text(encoding="utf-8")
    assert named == set(re.findall(r"diffkd-[a-z-]+", setup)) - {"diffkd-"}
