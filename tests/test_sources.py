"""What no source of this repository does, because a file could then run code."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("keras_diffkd", "export", "recipes", "examples", "benchmarks")
RUNS_CODE = {"eval", "exec", "compile", "__import__", "os.system", "os.popen"}
UNPICKLES = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib"}
# Keras opens model files in one place, which has checked them.
OPENS_MODELS = {
    "keras.models.load_model": "keras_diffkd/models/files/opening.py",
    "keras.saving.load_model": None,
    "keras.config.enable_unsafe_deserialization": None,
}
# Of a live model, whose config comes from no file.
UNSAFE_MODE = {"keras_diffkd/models/precision.py"}


def offences(source, path):
    """What of the above a source does, as `(line, what)`."""
    for node in ast.walk(ast.parse(source)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name.partition(".")[0] for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [(node.module or "").partition(".")[0]]
        for name in UNPICKLES.intersection(names):
            yield node.lineno, f"import {name}"
        if isinstance(node, ast.Call):
            for what in call_offences(node, path):
                yield node.lineno, what


def call_offences(node, path):
    name = ast.unparse(node.func)
    keywords = {word.arg: ast.unparse(word.value) for word in node.keywords}
    if name in RUNS_CODE:
        yield name
    if name in OPENS_MODELS and OPENS_MODELS[name] != path:
        yield name
    if keywords.get("shell", "False") != "False":
        yield f"{name} with a shell"
    if keywords.get("safe_mode", "True") != "True" and path not in UNSAFE_MODE:
        yield f"{name} not in safe mode"
    is_numpy = name in ("np.load", "numpy.load")
    if keywords.get("allow_pickle", "unsaid" if is_numpy else "False") != "False":
        yield f"{name} with pickles"


def sources():
    for folder in FOLDERS:
        yield from sorted((ROOT / folder).rglob("*.py"))


def test_no_source_runs_what_a_file_says():
    found = [
        f"{path.relative_to(ROOT)}:{line}: {what}"
        for path in sources()
        for line, what in offences(
            path.read_text(encoding="utf-8"), path.relative_to(ROOT).as_posix()
        )
    ]
    assert found == []
    assert len(list(sources())) > 100


@pytest.mark.parametrize(
    "source",
    [
        "eval(text)",
        "import pickle",
        "from marshal import loads",
        "np.load(file)",
        "np.load(file, allow_pickle=True)",
        "other(file, allow_pickle=wanted)",
        "subprocess.run(command, shell=True)",
        "keras.models.load_model(path)",
        "keras.saving.deserialize_keras_object(config, safe_mode=False)",
        "keras.config.enable_unsafe_deserialization()",
    ],
)
def test_offences_are_seen(source):
    assert len(list(offences(source, "recipes/any.py"))) == 1


def test_what_is_fine():
    for source in (
        "model.compile('adam')",
        "np.load(file, allow_pickle=False)",
        "subprocess.run(command)",
        "re.compile('a')",
        "keras.saving.deserialize_keras_object(config)",
    ):
        assert list(offences(source, "recipes/any.py")) == []
