"""Every public name is documented, serializable, and its example runs."""

import ast
import doctest
import importlib
import inspect
import pkgutil
import re

import keras
import numpy as np
import pytest

import keras_diffkd

BACKEND_MODULES = ("keras_diffkd.training.",)


class AnyBackend(doctest.OutputChecker):
    """Knows that shapes print differently; the examples show TensorFlow's."""

    def check_output(self, want, got, optionflags):
        return super().check_output(plain_shapes(want), plain_shapes(got), optionflags)


def plain_shapes(text):
    """Rewrites the shapes of TensorFlow and PyTorch as JAX's tuples."""
    return re.sub(
        r"(?:TensorShape|torch\.Size)\(\[(.*?)\]\)",
        lambda match: str(tuple(ast.literal_eval(f"[{match[1]}]"))),
        text,
    )


def library_modules():
    for module in pkgutil.walk_packages(keras_diffkd.__path__, "keras_diffkd."):
        if not module.name.startswith(
            ("keras_diffkd.export", "keras_diffkd.recipes", *BACKEND_MODULES)
        ):
            yield module.name


def public_members(module):
    for name, member in vars(module).items():
        is_own = getattr(member, "__module__", None) == module.__name__
        is_code = inspect.isclass(member) or inspect.isfunction(member)
        if is_own and is_code and not name.startswith("_"):
            yield name, member


@pytest.mark.parametrize("name", sorted(library_modules()))
def test_examples_run(name):
    module = importlib.import_module(name)
    # The examples are written as a user who imported the public names types them.
    names = {n: getattr(keras_diffkd, n) for n in keras_diffkd.__all__}
    names |= {"keras": keras, "np": np, "keras_diffkd": keras_diffkd}
    runner = doctest.DocTestRunner(AnyBackend(), optionflags=doctest.ELLIPSIS)
    globs = {**names, **vars(module)}
    for example in doctest.DocTestFinder().find(module, globs=globs):
        runner.run(example)
    assert runner.failures == 0


@pytest.mark.parametrize("name", sorted(library_modules()))
def test_public_members_are_documented(name):
    module = importlib.import_module(name)
    assert module.__doc__, name
    for member_name, member in public_members(module):
        assert member.__doc__, f"{name}.{member_name} has no docstring"
        is_object = inspect.isclass(member) and hasattr(member, "get_config")
        if is_object and issubclass(member, (keras.Layer, keras.Model)):
            registered = keras.saving.get_registered_name(member)
            assert registered == f"keras_diffkd>{member_name}"


@pytest.mark.parametrize(
    "name",
    [n for n in keras_diffkd.__all__ if inspect.isclass(getattr(keras_diffkd, n))],
)
def test_public_classes_say_what_a_user_must_know(name):
    doc = getattr(keras_diffkd, name).__doc__
    for section in ("Args:", "Example:"):
        assert section in doc, f"{name} has no section {section!r}"
    if name not in ("DistillationMethod", "TrainingDivergedError"):
        assert "Raises:" in doc
