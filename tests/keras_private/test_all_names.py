"""No other file of the library uses a private name of Keras."""

import ast
import inspect
from pathlib import Path

import keras

ROOT = Path(__file__).parents[2]
HOME = ROOT / "keras_diffkd" / "keras_private"
FOLDERS = ("keras_diffkd", "export", "recipes")
# Whose attributes the library gets to see.
CLASSES = (
    keras.Model,
    keras.Layer,
    keras.Metric,
    keras.Loss,
    keras.Optimizer,
    keras.KerasTensor,
    keras.Variable,
    keras.StatelessScope,
    keras.callbacks.Callback,
    keras.random.SeedGenerator,
)


def attributes(path):
    """Yields the line, the owner and the name of every attribute in a file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute):
            yield node.lineno, ast.unparse(node.value), node.attr


def private_names():
    """Returns Keras's private names: those of its classes, and those in `HOME`."""
    names = {name for cls in CLASSES for name in dir(cls)}
    # Attributes that instances alone have.
    names |= {name for path in HOME.glob("*.py") for *_, name in attributes(path)}
    for cls in CLASSES:
        tree = ast.parse(inspect.getsource(inspect.getmodule(cls)))
        names |= {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
    return {n for n in names if n.startswith("_") and not n.startswith("__")}


def test_private_names_are_used_in_one_place():
    private, found = private_names(), []
    assert {"_flatten_layers", "_keras_history", "_compile_loss"} <= private
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if HOME in path.parents:
                continue
            text = path.read_text(encoding="utf-8")
            found += [f"{path}: keras.src"] * ("keras.src" in text)
            found += [
                f"{path}:{line}: {owner}.{name}"
                for line, owner, name in attributes(path)
                # A class may override a hook of Keras, and has names of its own.
                if name in private and owner not in ("self", "super()", "cls")
            ]
    assert not found, found
