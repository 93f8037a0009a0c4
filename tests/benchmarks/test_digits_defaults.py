"""The tables of weights without a search."""

from comparison import ALONE
from digits_defaults_table import METHODS, report, rows_of, tasks
from digits_methods import BALANCED


def line(method, weight, seed, accuracy, optimizer="sgd", rate=0.1):
    return {
        "settings": {"epochs": 40, "optimizer": optimizer},
        "task": ["report", method, rate, weight, seed],
        "accuracy": accuracy,
        "machine": "a machine",
    }


def test_all_methods_have_both_weights():
    found = tasks(0.1, 2)
    assert len(found) == len(set(found)) == 2 * (1 + 2 * len(METHODS))
    assert {task[2] for task in found} == {0.1}


def test_rows_without_all_seeds_are_left_out():
    lines = [
        line(method, weight, seed, value + seed * scale)
        for method, weight, value, scale in (
            (ALONE, 0.0, 0.8, 0.01),
            ("KD", BALANCED, 0.9, 0.02),
            ("KD", 1.0, 0.7, 0.03),
        )
        for seed in range(3)
    ]
    lines += [line("FitNet", 1.0, 0, 0.5), line(ALONE, 0.0, 0, 0.1, "adamw")]
    lines += [line(ALONE, 0.0, seed, 0.1, rate=0.2) for seed in range(3)]
    rows = rows_of(lines, "sgd", 0.1, 3)
    assert list(rows) == [ALONE, "KD, balanced", "KD, weight 1"]
    text = report(lines, 3)
    assert "**SGD, momentum 0.9, rate 0.1; 3 seeds**" in text
    assert "| KD, balanced  | 92.00 ± 2.00     | +11.00 (" in text
    assert "| KD, weight 1  | 73.00 ± 3.00     | -8.00 (" in text
    assert "FitNet" not in text
    assert "**AdamW" not in text
