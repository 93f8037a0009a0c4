"""Folders of export/ import one way, so that each can be read without those above."""

import ast
from pathlib import Path

EXPORT = Path(__file__).parents[2] / "export"
# Each may import those before it.
ORDER = ["examples", "serving", "formats", "records", "proof", "web"]


def imported_folders(path):
    """Yields the folders of export/ that a file imports from."""
    package = path.relative_to(EXPORT).parent.parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            above = package[: len(package) - node.level + 1]
            name = [*above, *(node.module or "").split(".")]
            yield name[0] if name[0] in ORDER else None


def test_folders_import_one_way():
    found = {
        (folder, other)
        for folder in ORDER
        for path in (EXPORT / folder).rglob("*.py")
        for other in imported_folders(path)
        if other is not None and other != folder
    }
    assert ("records", "formats") in found
    wrong = {pair for pair in found if ORDER.index(pair[0]) < ORDER.index(pair[1])}
    assert not wrong


def test_siblings_are_imported_relatively():
    for path in EXPORT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                name = node.module or ""
                assert not name.startswith("keras_diffkd.export"), path
