"""What the README promises."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from keras_diffkd.models import build_model

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def run(code, folder):
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.long
@pytest.mark.backend("tensorflow")
def test_the_python_example_runs_as_it_stands(tmp_path):
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    # The teacher of the first command, without its training.
    path = tmp_path / re.search(r'load_model\("(.*?)"\)', example)[1]
    path.parent.mkdir(parents=True)
    build_model("digits_teacher", (8, 8, 1), 10).save(path)
    run(example, tmp_path)
    for name in ("saved_model", "student.onnx", "student.tflite", "manifest.json"):
        assert (tmp_path / "exported" / name).exists()


def test_it_stays_short():
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len([line for line in example.splitlines() if line]) <= 12
    assert len(README.split()) <= 650


def test_links_exist():
    for link in re.findall(r"\]\(([^)#]+)\)", README):
        assert "://" in link or (ROOT / link).exists(), link


def test_the_commands_exist():
    named = set(re.findall(r"diffkd-[a-z-]+", README))
    setup = (ROOT / "setup.py").read_text(encoding="utf-8")
    assert named == set(re.findall(r"diffkd-[a-z-]+", setup)) - {"diffkd-"}
