"""Whatever `export_student` is given: it is taken, or the error names the argument."""

import inspect

import keras
import pytest
from helpers.strategies import FEW, anything
from hypothesis import given
from hypothesis import strategies as st

from keras_diffkd.export import export as module
from keras_diffkd.export import export_student

ARGUMENTS = list(inspect.signature(export_student).parameters)[2:]


class Taken(Exception):  # noqa: N818
    """Everything was checked; what comes next is the work."""


@pytest.fixture(scope="module")
def student():
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])


@pytest.fixture(scope="module", autouse=True)
def _nothing_is_written():
    def stop(*args):
        raise Taken

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "check_rebuilt", stop)
        yield


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("formats", 0),
        ("formats", [[]]),
        ("quantize", []),
        ("input", []),
        ("opset", "17"),
        ("tolerance", "small"),
        ("quantized_tolerance", None),
        ("labels", "ab"),
        ("labels", 2),
        ("samples", {}),
        ("calibration_samples", {}),
        ("calibration_samples", ()),
    ],
)
def test_slips_are_named(student, tmp_path, name, value):
    with pytest.raises(ValueError, match=name):
        export_student(student, tmp_path / "out", **{"formats": ["onnx"], name: value})


@FEW
@given(data=st.data())
def test_export_student(student, tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("export") / "out"
    name = data.draw(st.sampled_from(ARGUMENTS))
    value = data.draw(anything)
    message = None
    try:
        export_student(student, folder, **{"formats": ["onnx"], name: value})
    except Taken:
        pass
    except (TypeError, ValueError) as error:
        message = str(error)
    assert not folder.exists()
    assert message is None or name in message, message
