"""Writes docs/situations.md: what plain Keras and a `Distiller` make of a training.

Run it from the root of the repository: `python benchmarks/situations.py`.
"""

import traceback
from pathlib import Path

from situation_cases import CASES, SECTIONS

PAGE = Path(__file__).parents[1] / "docs" / "situations.md"
HEADER = "| situation | loss in plain Keras | `Distiller` |"
START, END = "<!-- tables: python benchmarks/situations.py -->", "<!-- end -->"


def row(case):
    """Returns the row of a situation; raises if the two answers differ."""
    plain, ours = case.compare()
    return f"| {case.given} | {plain} | {ours} |"


def main():
    """Tries every situation and writes the tables between the marks."""
    parts, failed = [], 0
    for title, cases in SECTIONS.items():
        rows = []
        for case in cases:
            try:
                rows.append(row(case))
                print("ok  ", case.given, flush=True)
            except Exception:  # noqa: BLE001  All situations are to be tried.
                failed += 1
                print("FAIL", case.given, traceback.format_exc()[-700:], flush=True)
        table = f"{HEADER}\n| --- | --- | --- |\n"
        parts.append(f"## {title}\n\n{table}" + "\n".join(rows))
    if failed:
        raise SystemExit(f"{failed} of {len(CASES)} situations differ; nothing written")
    before, rest = PAGE.read_text(encoding="utf-8").split(START)
    text = (
        f"{before}{START}\n\n" + "\n\n".join(parts) + f"\n\n{END}{rest.split(END)[1]}"
    )
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
