"""Runs that tests write themselves, and the page about them: nothing is trained."""

import json
import re

import numpy as np

from keras_diffkd.recipes.report.write import write_report
from keras_diffkd.recipes.run import experiment

EPOCHS = 6


def curve(final, **names):
    """Lines of a `metrics.jsonl`; values are a constant or one for each epoch."""
    columns = {
        "loss": np.linspace(2.0, 1.0, EPOCHS) ** 0.1,
        "task_loss": 0.25,
        "val_loss": 0.3,
        "val_accuracy": np.linspace(0.5, final, EPOCHS),
        "seconds": 2.0,
        "learning_rate": 0.1,
        **names,
    }
    values = {name: np.broadcast_to(v, EPOCHS) for name, v in columns.items()}
    return [
        {"epoch": i + 1, **{name: float(v[i]) for name, v in values.items()}}
        for i in range(EPOCHS)
    ]


def distilled(final, **names):
    losses = {
        "diffkd_features/distill": 0.5,
        "diffkd_features/denoise": 0.125,
        "diffkd_features/gamma": np.linspace(0.5, 0.9, EPOCHS),
    }
    return curve(final, **{**losses, **names})


def write_stage(folder, settings, lines):
    folder.mkdir(parents=True, exist_ok=True)
    experiment.write_flags(folder, settings)
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "metrics.jsonl").write_text(text)


def page_of(run):
    path = write_report(run)
    assert path == run.export / "report.html"
    assert not list(run.root.rglob("*partial*"))
    return path.read_text(encoding="utf-8")


def text_of(page):
    """Returns what a reader sees, on one line."""
    body = re.sub(r"<(style|svg).*?</\1>", " ", page, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", body.replace("<wbr>", "")).split())


def warnings_of(run):
    found = re.search(r'<aside class="warnings".*?</aside>', page_of(run), re.DOTALL)
    return text_of(found[0]) if found else ""
