"""Whatever a data set is asked for: it is given, or the error names the argument."""

import inspect

import numpy as np
import pytest
from helpers.strategies import FEW, anything
from hypothesis import given
from hypothesis import strategies as st

from keras_diffkd import datasets, models

LOAD = list(inspect.signature(datasets.load_classification).parameters)


@FEW
@given(data=st.data())
def test_load_classification(data_dir, data):
    name = data.draw(st.sampled_from([n for n in LOAD if n != "download"]))
    given_arguments = {"name": "digits", "data_dir": data_dir, "batch_size": 4}
    # A NumPy array has no truth value, and is no plausible slip for any of them.
    value = data.draw(anything.filter(lambda value: not isinstance(value, np.ndarray)))
    if name == "data_dir" and isinstance(value, str):
        return  # Any text is a folder, in which the digits would be prepared.
    message = None
    try:
        datasets.load_classification(**{**given_arguments, name: value})
    except (TypeError, ValueError) as error:
        message = str(error)
    assert message is None or named(name, value, message), (name, value, message)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("name", None),
        ("data_dir", 3),
        ("augment", ["crop"]),
        ("shard", 2),
        ("shard", ("0", "1")),
        ("train_split", 0.8),
    ],
)
def test_slips_are_named(data_dir, name, value):
    arguments = {"name": "digits", "data_dir": data_dir, "batch_size": 4, name: value}
    with pytest.raises(ValueError, match=f"{name}|split"):
        datasets.load_classification(**arguments)


def named(name, value, message):
    """Whether a message is about an argument: it has its name, or what it was."""
    return name in message or repr(value) in message


@FEW
@given(spec=anything, shape=anything, classes=anything)
def test_load_model(spec, shape, classes):
    with pytest.raises((TypeError, ValueError)) as error:
        models.load_model(spec, input_shape=shape, num_classes=classes)
    assert any(n in str(error.value) for n in ("spec", "model", "input_shape", "class"))
    with pytest.raises((TypeError, ValueError)) as error:
        models.load_model("resnet20", input_shape=shape, num_classes=classes)
    assert any(n in str(error.value) for n in ("input_shape", "num_classes"))
