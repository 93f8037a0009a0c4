"""The tables of the benchmark of digit scenes."""

from comparison import ALONE
from digit_scenes_models import METHODS, TEACHER, methods_of, models
from digit_scenes_table import report


def line(method, seed, value, task="segmentation", key="val_mean_iou"):
    curves = {key: [0.1, value]}
    if task == "detection":
        curves["val_mAP50"] = [0.2, value + 0.1]
    return {
        "task": task,
        "method": method,
        "seed": seed,
        "curves": curves,
        "accuracy": value,
        "seconds": 50.0,
        "machine": "a machine",
    }


def test_gains_are_over_the_seeds_that_a_method_has():
    values = {TEACHER: 0.8, ALONE: 0.5, "DiffKD": 0.55, "DiffKD, balanced": 0.6}
    lines = [
        line(method, seed, value * (1 + seed / 100))
        for method, value in values.items()
        for seed in range(4)
        # Of the last one a seed is missing.
        if (method, seed) != ("DiffKD, balanced", 3)
    ]
    lines.append(line("FitNet", 0, 0.9))
    text = report(lines, least_seeds=3)
    assert "4 seeds; teachers: 81.20 ±" in text
    rows = [row for row in text.splitlines() if row.startswith("| DiffKD")]
    assert len(rows) == 3
    assert "| 4     | 55.83 ± 0.71 | +5.08 (+4.97 to +5.18)" in rows[0]
    assert "| 3     | 60.60 ± 0.60 | +10.10 (+9.85 to +10.35)" in rows[1]
    # Balanced against weight 1.
    assert "60.60 ± 0.60 | 55.55 ± 0.55 | +5.05" in rows[2]
    assert "| FitNet" not in text
    assert "Not finished: FitNet (1 of 4 seeds)." in text


def test_detectors_have_both_metrics():
    lines = [
        line(method, seed, 0.3 + seed / 10, "detection", "val_mAP")
        for method in (TEACHER, ALONE, "FitNet")
        for seed in range(2)
    ]
    text = report(lines, least_seeds=2)
    assert "**Detection, mAP** " in text
    assert "**Detection, mAP50** " in text
    assert "against weight 1" not in text
    assert "Segmentation" not in text


def test_detectors_train_without_methods_on_logits():
    assert set(methods_of("segmentation")) == set(METHODS)
    assert not any(name.startswith("KD") for name in methods_of("detection"))
    found = models(["detection"], [ALONE], 2)
    assert [(model.method, model.seed) for model in found] == [
        (TEACHER, 0),
        (ALONE, 0),
        (TEACHER, 1),
        (ALONE, 1),
    ]
