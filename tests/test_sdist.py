"""A source distribution has what a clone has: pages, examples and tests, too."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
MADE = {"build", "dist"}


def test_every_folder_is_in_the_source_distribution():
    lines = (ROOT / "MANIFEST.in").read_text().splitlines()
    grafted = {line.removeprefix("graft ") for line in lines if "graft" in line}
    folders = {
        path.parent.name
        for path in [*ROOT.glob("*/*.py"), *ROOT.glob("*/*.md")]
        if not path.parent.name.startswith((".", "_"))
    }
    assert folders - MADE == grafted
