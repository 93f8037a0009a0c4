"""Prints which folder of the library imports which, from the imports themselves.

    python tests/helpers/folder_graph.py

A folder stands below all folders that import it. It exits with 1 and names the folders
if some import each other, directly or through others.
"""

import ast
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Where the packages of `setup.py` lie.
PACKAGES = {
    "keras_diffkd.export": ROOT / "export",
    "keras_diffkd.recipes": ROOT / "recipes",
    "keras_diffkd": ROOT / "keras_diffkd",
}


def modules():
    """Returns a dict from the dotted name of every module to its file."""
    found = {}
    for package, folder in PACKAGES.items():
        for path in sorted(folder.rglob("*.py")):
            parts = [package, *path.relative_to(folder).with_suffix("").parts]
            found[".".join(parts).removesuffix(".__init__")] = path
    return found


def imports_of(name, path, known):
    """Returns the modules of the project that a module imports."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = package.split(".")
                parts = parts[: len(parts) - node.level + 1]
                base = ".".join([*parts, base] if base else parts)
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                found.add(inner if inner in known else base)
    return {other for other in found if other in known and other != name}


def folder_of(name):
    """Returns the folder of a module; a file at the top of a package is its own."""
    package = next(
        package for package in PACKAGES if f"{name}.".startswith(package + ".")
    )
    first = name.removeprefix(package).strip(".").partition(".")[0]
    return f"{package}.{first}" if first else package


def folder_graph():
    """Returns a dict from every folder to the set of folders that it imports."""
    known = modules()
    graph = {}
    for name, path in known.items():
        folder = folder_of(name)
        of_folder = graph.setdefault(folder, set())
        for other in imports_of(name, path, known):
            of_folder.add(folder_of(other))
        of_folder.discard(folder)
    return graph


def levels(graph):
    """Returns lists of folders, lowest first; each imports only from lists before.

    Raises:
        graphlib.CycleError: If folders import each other; its second argument
            is the list of them.
    """
    sorter = TopologicalSorter(graph)
    sorter.prepare()
    found = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready())
        found.append(ready)
        sorter.done(*ready)
    return found


def main():
    """Prints the folders from the top to the bottom."""
    graph = folder_graph()
    try:
        ordered = levels(graph)
    except CycleError as error:
        sys.exit(f"These folders import each other: {' -> '.join(error.args[1])}")
    for level in reversed(ordered):
        for folder in level:
            print(f"{folder}  ->  {', '.join(sorted(graph[folder])) or '(nothing)'}")


if __name__ == "__main__":
    main()
