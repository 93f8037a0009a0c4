"""Imports run one way, between folders as between files."""

from graphlib import CycleError

import pytest
from helpers.folder_graph import folder_graph, levels

# Each may import from those before it. `export` and `recipes` stand above.
ORDER = (
    "errors",
    "keras_private",
    "validation",
    "losses",
    "layers",
    "diffusion",
    "features",
    "training",
    "methods",
    "interop",
    "preflight",
    "pruning",
    "distiller",
    "resuming",
    "callbacks",
)


def test_no_two_folders_import_each_other():
    assert len(levels(folder_graph())) > 8


def test_a_circle_through_a_third_folder_is_found():
    with pytest.raises(CycleError):
        levels({"a": {"b"}, "b": {"c"}, "c": {"a"}})


def test_imports_of_the_library_follow_the_order():
    graph = folder_graph()
    ordered = [f"keras_diffkd.{name}" for name in ORDER]
    for place, folder in enumerate(ordered):
        assert graph[folder].intersection(ordered) <= set(ordered[:place]), folder


def test_nothing_imports_the_commands():
    for folder, imported in folder_graph().items():
        if not folder.startswith("keras_diffkd.recipes"):
            assert not [f for f in imported if f.startswith("keras_diffkd.recipes")]


def test_export_reads_nothing_of_training():
    for folder, imported in folder_graph().items():
        if folder.startswith("keras_diffkd.export"):
            assert not [f for f in imported if f.startswith("keras_diffkd.training")]
