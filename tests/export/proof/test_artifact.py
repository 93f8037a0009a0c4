import keras
import pytest

from keras_diffkd.export.proof.artifact import compare_metadata, find_size_problem
from keras_diffkd.export.serving.serving import Serving


def test_metadata_that_differs():
    assert compare_metadata({"a": 1}, {"a": 1}) == []
    assert "has none" in compare_metadata({}, {"a": 1})[0]
    assert "'b' is None in the file" in compare_metadata({"a": 1}, {"a": 1, "b": 2})[0]


@pytest.mark.parametrize(
    ("precision", "size", "is_too_small"),
    [
        ("float32", 3300, False),
        ("float32", 3000, True),
        ("float16", 1700, False),
        ("int8", 850, False),
        ("int8", 700, True),
    ],
)
def test_size(precision, size, is_too_small):
    inputs = keras.Input((100,))
    student = keras.Model(inputs, keras.layers.Dense(10)(inputs))
    problems = find_size_problem(size, precision, Serving(student))
    assert bool(problems) == is_too_small
    if is_too_small:
        assert "implausibly small" in problems[0]
        assert "1000 kernel weights" in problems[0]
