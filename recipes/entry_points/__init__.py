"""Starts the commands soon, and without the lines that TensorFlow logs at first.

`setup.py` installs it as the package `diffkd_commands`, beside `keras_diffkd`: Python
imports TensorFlow before any module of that package. Native code writes the lines to
file descriptor 2, and some of them at any `TF_CPP_MIN_LOG_LEVEL`.
"""

import functools
import importlib.metadata
import importlib.util
import json
import logging
import os
import re
import sys
from pathlib import Path

# The first letters of log lines, by their number in `TF_CPP_MIN_LOG_LEVEL`.
_SEVERITIES = "IWEF"
# Keras and TensorFlow import them where they are, for plots, wrappers and converters: a
# third of the start.
_OPTIONAL = ("jax", "matplotlib", "sklearn")


def _run(name):
    command = f"diffkd-{name.replace('_', '-')}"
    if "--version" in sys.argv[1:]:
        print(f"{command} {importlib.metadata.version('keras-diffkd')}")
        return
    if "--list_models" in sys.argv[1:]:
        path = Path(__file__).parent / "models.txt"
        print(path.read_text(encoding="utf-8"), end="")
        return
    other = _other_backend()
    if other:
        sys.exit(
            f"{command}: error: the commands train and export on TensorFlow. Received: "
            f"{other}. Put KERAS_BACKEND=tensorflow before the command; other backends "
            "are for training in Python (docs/backends.md)"
        )
    level = os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    module = f"keras_diffkd.recipes.{name}"
    if level not in ("1", "2", "3"):
        _import(module).run()
        return
    held = str
    try:
        with _held_stderr().hold_stderr() as held:
            command = _import(module)
    except BaseException:
        sys.stderr.write(held())
        raise
    sys.stderr.writelines(_lines_from(int(level), held()))
    if level != "1":
        # It warns of one function for each model, which is what commands compile.
        logging.getLogger("tensorflow").setLevel(logging.ERROR)
    command.run()


def _other_backend():
    """Returns where another backend than TensorFlow is chosen, or None.

    It reads what Keras reads, without the seconds that importing Keras takes.
    """
    chosen = os.environ.get("KERAS_BACKEND")
    if chosen:
        return None if chosen == "tensorflow" else f"KERAS_BACKEND={chosen}"
    base = "~" if os.access(os.path.expanduser("~"), os.W_OK) else "/tmp"
    folder = os.environ.get("KERAS_HOME", os.path.join(base, ".keras"))
    path = Path(os.path.expanduser(os.path.join(folder, "keras.json")))
    try:
        chosen = json.loads(path.read_text(encoding="utf-8"))["backend"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return None if chosen == "tensorflow" else f"the backend {chosen!r} in {path}"


def _import(module):
    """Imports Keras without packages that commands do not use in it, then a module."""
    later = [name for name in _OPTIONAL if name not in sys.modules]
    sys.modules.update(dict.fromkeys(later))
    try:
        importlib.import_module("keras")
    finally:
        for name in later:
            del sys.modules[name]
    return importlib.import_module(module)


def _held_stderr():
    """Loads the module `keras_diffkd.held_stderr` without its package."""
    [folder] = importlib.util.find_spec("keras_diffkd").submodule_search_locations
    path = Path(folder) / "held_stderr.py"
    spec = importlib.util.spec_from_file_location("held_stderr", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _lines_from(level, text):
    """Yields log lines of at least a severity, with the lines that go on with them."""
    is_wanted = False
    for line in text.splitlines(keepends=True):
        start = re.match(rf"([{_SEVERITIES}])\d{{4}} |WARNING: All log messages", line)
        if start:
            is_wanted = bool(start[1]) and _SEVERITIES.index(start[1]) >= level
        if is_wanted:
            yield line


train_teacher = functools.partial(_run, "train_teacher")
cache_teacher = functools.partial(_run, "cache_teacher")
distill = functools.partial(_run, "distill")
evaluate = functools.partial(_run, "evaluate")
export = functools.partial(_run, "export")
verify = functools.partial(_run, "verify")
