import numpy as np
import pytest
from comparison import (
    differences_table,
    draw_accuracy_against_time,
    gains_table,
    holm,
    interval_of_mean,
)
from scipy import stats


def cells_of(line):
    """Returns the texts of a row of a Markdown table."""
    return [cell.strip() for cell in line.split("|")[1:-1]]


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


def test_a_row_with_fewer_seeds_is_compared_on_these(rng):
    base, other = rng.normal(0.9, 0.01, 10), rng.normal(0.9, 0.01, 4)
    gain = 100 * (other - base[:4])
    half = stats.t.ppf(0.975, 3) * np.std(gain, ddof=1) / 2
    difference = f"{gain.mean():+.2f} ({gain.mean() - half:+.2f} to "
    table = gains_table({"alone": base, "other": other}, "alone")
    alone, row = (cells_of(line) for line in table.splitlines()[2:])
    assert alone[:3] == ["alone", "10", f"{100 * base.mean():.2f} ± " + alone[2][-4:]]
    assert row[:2] == ["other", "4"]
    assert row[3].startswith(difference)
    assert row[4] == f"{stats.ttest_rel(other, base[:4]).pvalue:.3f}"
    row = cells_of(differences_table({"pair": (other, base)}).splitlines()[2])
    assert row[2].startswith(f"{100 * base[:4].mean():.2f} ±")
    assert row[3].startswith(difference)
    assert "seeds" not in differences_table({"pair": (other, base)})
    pairs = {"pair": (other, base), "all": (base + 0.01, base)}
    header, _, *rows = map(cells_of, differences_table(pairs).splitlines())
    assert header[1] == "seeds"
    assert [row[1] for row in rows] == ["4", "10"]


def test_figure_shows_every_method(tmp_path, rng):
    accuracies = {name: rng.random(5) for name in ("KD", "DiffKD (logits)")}
    path = tmp_path / "figure.svg"
    draw_accuracy_against_time(accuracies, {"KD": 0.01, "DiffKD (logits)": 0.02}, path)
    assert path.read_text().count("<svg") == 1
