import sys

import pytest

from keras_diffkd import DiffKD, LogitsKD
from keras_diffkd.recipes.methods import build_methods
from keras_diffkd.recipes.own_methods import build_own_methods

MODULE = """
from keras_diffkd import DiffKD, FitNet, LogitsKD

class Hot(LogitsKD):
    def __init__(self):
        super().__init__(temperature=9.0, name="hot")

def both():
    return [Hot(), FitNet("features", "features", name="fitnet")]

import a_module_that_is_missing_here
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "mine_all_mine.py").write_text(MODULE.rpartition("import")[0])
    (tmp_path / "mine_and_broken.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("mine_all_mine", None)


def test_a_class_or_a_function_of_a_module(module, parse):
    parse("--temperature=3")
    kd, hot = build_methods(["kd", "mine_all_mine:Hot"])
    assert isinstance(hot, LogitsKD)
    assert (kd.temperature, hot.temperature) == (3.0, 9.0)
    names = [method.name for method in build_methods(["mine_all_mine:both"])]
    assert names == ["hot", "fitnet"]
    with pytest.raises(ValueError, match="the same method twice"):
        build_methods(["mine_all_mine:Hot", "mine_all_mine:both"])


def test_errors_inside_the_module_are_not_hidden(module):
    with pytest.raises(ModuleNotFoundError, match="a_module_that_is_missing_here"):
        build_own_methods("mine_and_broken:Hot")


def test_library_classes_work_too():
    [method] = build_own_methods("keras_diffkd:DiffKD")
    assert isinstance(method, DiffKD)
