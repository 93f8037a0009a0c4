"""The code on the pages in docs/."""

import re
from pathlib import Path

import numpy as np
import pytest
from helpers.small_models import cross_entropy, random_batch, small_cnn

from keras_diffkd import LogitsKD
from keras_diffkd.taps import output_specs

DOCS = Path(__file__).parents[1] / "docs"


def test_moving_from_keras_distillation(rng):
    page = (DOCS / "from_keras_distillation.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names = {"teacher": small_cnn(8), "student": small_cnn(8), "LogitsKD": LogitsKD}
    exec("\n".join(blocks), names)  # noqa: S102  It is our own page.

    x, y = random_batch(rng)
    for distiller in (names["distiller"], names["keras_distiller"]):
        distiller.compile("sgd", cross_entropy())
        history = distiller.fit(x, y, verbose=0).history
        assert all(np.isfinite(values[0]) for values in history.values())
    assert "logits_distillation/distill" in distiller_logs(names["distiller"], x, y)
    assert names["method"].loss_weights == {"distill": 0.5}


def distiller_logs(distiller, x, y):
    return distiller.fit(x, y, verbose=0).history


@pytest.mark.long
@pytest.mark.backend("tensorflow")
def test_detection_and_segmentation(tmp_path, monkeypatch, capsys):
    pytest.importorskip("keras_hub")
    page = (DOCS / "detection_and_segmentation.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    names = {}
    exec("\n".join(blocks), names)  # noqa: S102  It is our own page.

    assert "'mAP50'" in capsys.readouterr().out
    assert (tmp_path / "exported" / "saved_model").exists()
    for file in re.findall(r"\w+\.flags", page):
        assert (DOCS.parent / "recipes" / "experiments" / file).exists()
    paths = re.findall(r"^\| `(backbone/[^`]+)`", page, re.MULTILINE)
    models = names["detector"], names["segmenter"], names["teacher"]
    found = {path for path in paths for m in models if _is_tapped(m, path)}
    # The test of docs/taps.md has a SegFormer.
    assert set(paths) - found == {"backbone/feature_extractor"}


def _is_tapped(model, path):
    try:
        output_specs(model, model.input, [path])
    except ValueError:
        return False
    return True


def test_links_exist():
    for page in DOCS.glob("*.md"):
        text = page.read_text(encoding="utf-8")
        for link in re.findall(r"\]\(([^)#]+)\)", text):
            assert "://" in link or (DOCS / link).exists(), (page.name, link)
