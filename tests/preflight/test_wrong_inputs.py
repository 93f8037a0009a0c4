"""No wrong input is silent, and the page about them is what is really said."""

import re
from pathlib import Path

import pytest
import wrong_input_commands as commands
from wrong_input_cases import CASES, X, Y
from wrong_input_models import distiller
from wrong_inputs import command_rows, our_answer, plain, python_rows

PAGE = Path(__file__).parents[2] / "docs" / "wrong_inputs.md"


def without_numbers(text):
    """Returns a text that is the same where floats are rounded otherwise."""
    return re.sub(r"-?\d+(\.\d+)?(e-?\d+)?", "#", text)


@pytest.fixture(scope="module")
def page():
    return without_numbers(PAGE.read_text(encoding="utf-8"))


def test_what_is_right_is_neither_refused_nor_suspected():
    found = distiller().preflight(X, Y, validation_data=(X, Y), epochs=2)
    assert (found.errors, found.warnings) == ([], [])
    assert found.teacher_accuracy == (1.0, 64)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.given)
def test_every_wrong_input_is_named(case, page):
    _, text = our_answer(case)
    assert re.search(case.says, text, re.DOTALL), text
    # The last cell of its row on the page.
    assert without_numbers(plain(text)) in page


@pytest.mark.backend("tensorflow")
def test_every_wrong_flag_is_named(page, tmp_path):
    for arguments, says in commands.CASES.items():
        status, printed = commands.answer(
            "diffkd-distill", (*commands.GOOD, f"--run_dir={tmp_path}/r", *arguments)
        )
        assert status == 1, arguments
        assert says in printed, printed
        assert printed.startswith("diffkd-distill: error: ")
        assert "Traceback" not in printed
        assert not list(tmp_path.iterdir())
    for row in command_rows():
        assert without_numbers(row) in page


def test_all_of_the_cases_are_on_the_page(page):
    assert len(CASES) + len(commands.CASES) >= 40
    for row in python_rows(CASES[:1], lambda case: "STOCK"):
        given = without_numbers(row.split(" | ")[0])
        assert given in page
    for case in CASES:
        assert f"| {without_numbers(case.given)} |" in page
