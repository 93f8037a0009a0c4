import numpy as np
import pytest
from comparison import (
    draw_accuracy_against_time,
    gains_table,
    holm,
    interval_of_mean,
)
from scipy import stats


def test_holm_multiplies_the_smallest_by_all_and_never_falls():
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03]), [0.03, 0.06, 0.06])
    np.testing.assert_allclose(holm([0.5, 0.9]), [1.0, 1.0])
    np.testing.assert_allclose(holm([0.2]), [0.2])


def test_interval_covers_the_mean_as_often_as_it_says(rng):
    covered = 0
    for _ in range(1000):
        mean, half = interval_of_mean(rng.normal(3.0, 1.0, 10))
        covered += abs(mean - 3.0) <= half
    assert 0.92 < covered / 1000 < 0.98


def test_table_compares_seed_by_seed(rng):
    base = rng.normal(0.9, 0.05, 10)
    accuracies = {
        "alone": base,
        "better": base + 0.01 + rng.normal(0, 0.002, 10),
        "same": base + rng.normal(0, 0.002, 10) - 1e-4,
    }
    header, _, alone, better, same = gains_table(
        accuracies, "alone", {"ms": {"alone": "1", "better": "2", "same": "3"}}
    ).splitlines()
    assert [cell.strip() for cell in header.split("|")[2:4]] == [
        "ms",
        "test accuracy, %",
    ]
    assert alone.split("|")[4].strip() == ""
    gain = 100 * np.mean(accuracies["better"] - base)
    assert f"{gain:+.2f} (" in better
    assert "< 0.001" in better
    p = float(same.split("|")[5])
    assert p == pytest.approx(
        stats.ttest_rel(accuracies["same"], base).pvalue, abs=1e-3
    )


def test_figure_shows_every_method(tmp_path, rng):
    accuracies = {name: rng.random(5) for name in ("KD", "DiffKD (logits)")}
    path = tmp_path / "figure.svg"
    draw_accuracy_against_time(accuracies, {"KD": 0.01, "DiffKD (logits)": 0.02}, path)
    assert path.read_text().count("<svg") == 1
