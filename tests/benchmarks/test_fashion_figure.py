"""The figure of Fashion-MNIST and its table come from the runs in the repository."""

from pathlib import Path

import pytest
from comparison import gains_table
from fashion_figure import SHOWN, draw, read_runs

PAGE = Path(__file__).parents[2] / "docs" / "results.md"


def test_the_table_on_the_page_is_that_of_the_runs():
    about, accuracies = read_runs()
    page = PAGE.read_text(encoding="utf-8")
    assert gains_table(accuracies, "student alone") in page
    assert f"{100 * about['teacher']:.2f}%, trained on all training images" in page


def test_the_figure_shows_all_rows(tmp_path):
    pytest.importorskip("matplotlib")
    about, accuracies = read_runs()
    draw(about["teacher"], accuracies, tmp_path / "figure.svg")
    figure = (tmp_path / "figure.svg").read_text(encoding="utf-8")
    for label in SHOWN.values():
        assert f"<!-- {label} -->" in figure
