"""The code on the pages in docs/."""

import re
from pathlib import Path

import numpy as np
from small_models import cross_entropy, random_batch, small_cnn

from keras_diffkd import LogitsKD

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


def test_links_exist():
    for page in DOCS.glob("*.md"):
        text = page.read_text(encoding="utf-8")
        for link in re.findall(r"\]\(([^)#]+)\)", text):
            assert "://" in link or (DOCS / link).exists(), (page.name, link)
