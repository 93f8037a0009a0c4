"""Writes docs/wrong_inputs.md: what stock Keras and keras-diffkd do with wrong inputs.

Run it from the root of the repository: `python benchmarks/wrong_inputs.py`. It takes
a few minutes, nearly all of which is stock Keras, training on nonsense.
"""

import contextlib
import io
import re
import warnings
from pathlib import Path

import keras
import numpy as np
import wrong_input_commands as commands
from wrong_input_cases import CASES, SECTIONS

from keras_diffkd.errors import DataWarning, PreflightWarning
from keras_diffkd.validation.findings import Findings

PAGE = Path(__file__).parents[1] / "docs" / "wrong_inputs.md"
LONGEST = 120
START, END = "<!-- tables: python benchmarks/wrong_inputs.py -->", "<!-- end -->"


def our_answer(case):
    """Returns the answer of keras-diffkd to a case: `("error" or "warning", text)`.

    Raises:
        AssertionError: If it says nothing.
    """
    keras.utils.set_random_seed(0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            found = case.ours()
        except ValueError as error:
            return "error", str(error)
    ours = (DataWarning, PreflightWarning)
    told = [str(w.message) for w in caught if w.category in ours]
    if isinstance(found, Findings):
        told += found.warnings
    assert told, f"nothing is said of: {case.given}"
    fitting = [text for text in told if re.search(case.says, text, re.DOTALL)]
    return "warning", (fitting or told)[0]


def stock_answer(case):
    """Returns in a few words what stock Keras does with a case."""
    if case.stock is None:
        return "does not have it"
    keras.utils.set_random_seed(0)
    silent = contextlib.redirect_stderr(io.StringIO())
    with warnings.catch_warnings(), silent:
        warnings.simplefilter("ignore")
        try:
            found = case.stock()
        except Exception as error:  # noqa: BLE001  Whatever it is goes into the table.
            return f"`{type(error).__name__}`: {plain(gist(error), 45)}"
    if not isinstance(found, keras.callbacks.History):
        return "accepts it"
    history = found.history
    name = "total_loss" if "total_loss" in history else "loss"
    if not history.get(name):
        return "trains nothing, silently"
    first, last = history[name][0], history[name][-1]
    validation = history.get("val_total_loss") or history.get("val_loss")
    text = f"trains silently, loss {first:.3g} to {last:.3g}"
    if not np.isfinite(last):
        text = "trains silently, **loss NaN**"
    elif validation and not np.isfinite(validation[-1]):
        text += ", **validation loss NaN**"
    return text


def gist(error):
    """Returns the message of an exception of Keras without its wrapping."""
    text = re.sub(r"\x1b\[\d+m", "", getattr(error, "message", None) or str(error))
    for begin in ("Received a label value", "Input 0 "):
        if begin in text:
            return re.split(r"\.\s+Label values", text[text.index(begin) :])[0]
    return text


def plain(text, longest=LONGEST):
    """Returns a text on one line that a cell of a table can hold."""
    text = " ".join(text.split()).replace("|", "\\|")
    if len(text) <= longest:
        return text
    return text[:longest].rsplit(" ", 1)[0] + " ..."


def python_rows(cases, stock):
    """Yields the rows of a table; `stock` maps a case to what stock Keras does."""
    for case in cases:
        kind, text = our_answer(case)
        yield f"| {case.given} | {stock(case)} | {kind}: {plain(text)} |"


def command_rows():
    """Yields the rows of the table of flags."""
    for arguments in commands.CASES:
        _, printed = commands.answer("diffkd-distill", (*commands.GOOD, *arguments))
        said = printed.removeprefix("diffkd-distill: error: ")
        yield f"| `{' '.join(arguments)}` | {plain(said)} |"


def tables(stock):
    """Returns all tables as Markdown."""
    parts = []
    for title, cases in SECTIONS.items():
        rows = "\n".join(python_rows(cases, stock))
        parts.append(
            f"## {title}\n\n| given | `keras.distillation` | keras-diffkd |\n"
            f"| --- | --- | --- |\n{rows}"
        )
    rows = "\n".join(command_rows())
    parts.append(
        "## Flags of the commands\n\n| flags of `diffkd-distill` | answer |\n"
        f"| --- | --- |\n{rows}"
    )
    return "\n\n".join(parts)


def main():
    """Writes the tables into the page, between the marks, and counts."""
    stock = {}
    for case in CASES:
        stock[case.given] = stock_answer(case)
        print(case.given, "->", stock[case.given], flush=True)
    text = PAGE.read_text(encoding="utf-8")
    before, after = text.split(START)[0], text.split(END)[1]
    made = tables(lambda case: stock[case.given])
    PAGE.write_text(f"{before}{START}\n\n{made}\n\n{END}{after}", encoding="utf-8")
    silent = sum("silently" in said or said == "accepts it" for said in stock.values())
    print(f"{len(CASES)} cases, stock Keras is silent about {silent}")


if __name__ == "__main__":
    main()
