"""A Distiller trains as plain Keras does, and the page about it lists every case."""

from pathlib import Path

import pytest
from situation_cases import CASES

PAGE = Path(__file__).parents[2] / "docs" / "situations.md"


@pytest.mark.backend("tensorflow")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.given)
def test_a_distiller_trains_as_plain_keras_does(case):
    case.compare()


def test_the_page_lists_all_situations():
    page = PAGE.read_text(encoding="utf-8")
    assert len(CASES) >= 60
    assert len({case.given for case in CASES}) == len(CASES)
    for case in CASES:
        assert f"\n| {case.given} | " in page
