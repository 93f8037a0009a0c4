"""Modules of export/ and recipes/ name their siblings relatively.

Editors do not know that `setup.py` installs the two folders inside `keras_diffkd`.
"""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Programs that run as files, and the starter that is installed beside the package.
ALONE = {"tflite_converter.py", "entry_points"}


@pytest.mark.parametrize("folder", ["export", "recipes"])
def test_siblings_are_imported_relatively(folder):
    package = f"keras_diffkd.{folder}"
    paths = [p for p in (ROOT / folder).rglob("*.py") if not ALONE & set(p.parts)]
    found = []
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            else:
                continue
            found += [
                f"{path.relative_to(ROOT)}:{node.lineno}: {name}"
                for name in names
                if f"{name}.".startswith(f"{package}.")
            ]
    assert found == []
    assert len(paths) > 20
