"""Finds the classes that a `.keras` file needs to be loaded."""

import json
import zipfile


def classes_not_of_keras(path):
    """Returns the modules and registered names in a file that Keras does not have."""
    with zipfile.ZipFile(path) as archive:
        config = json.loads(archive.read("config.json"))
    modules = {m for m in _values(config, "module") if m}
    assert "keras.layers" in modules
    names = {n for n in _values(config, "registered_name") if n}
    known = {"Functional", "Sequential"}
    return {m for m in modules if m.split(".")[0] != "keras"} | (names - known)


def _values(node, key):
    """Yields all values of a key, at any depth."""
    children = node.values() if isinstance(node, dict) else node
    if isinstance(node, dict) and key in node:
        yield node[key]
    for child in children:
        if isinstance(child, dict | list):
            yield from _values(child, key)
