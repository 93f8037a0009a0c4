"""What the README promises."""

import re
from pathlib import Path

import pytest

from keras_diffkd.models import build_model

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.long
@pytest.mark.backend("tensorflow")
def test_the_python_example_runs(tmp_path, monkeypatch):
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    # The teacher of the first command, without its training.
    path = tmp_path / re.search(r'load_model\("(.*?)"\)', example)[1]
    path.parent.mkdir(parents=True)
    build_model("digits_teacher", (8, 8, 1), 10).save(path)
    assert "epochs=20" in example
    monkeypatch.chdir(tmp_path)
    exec(example.replace("epochs=20", "epochs=1"), {})
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
