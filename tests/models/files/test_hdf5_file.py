import numpy as np
import pytest

from keras_diffkd.models import UnsafeModelError
from keras_diffkd.models.files.hdf5_file import inspect_weights

h5py = pytest.importorskip("h5py")


@pytest.fixture
def path(tmp_path):
    """Weights with what `spoil` adds to them."""
    return tmp_path / "model.weights.h5"


def spoil(path, change):
    with h5py.File(path, "w") as file:
        file["layers/dense/vars/0"] = [[1.0, 2.0], [3.0, 4.0]]
        file["layers/dense/vars/1"] = 5
        change(file)
    return path


def test_groups_with_arrays(path):
    assert inspect_weights(spoil(path, lambda file: None)) == 5
    with open(path, "rb") as file:
        assert inspect_weights(file) == 5


def test_half_precision(path):
    ml_dtypes = pytest.importorskip("ml_dtypes")

    def add(file):
        file["half"] = [1.0]
        file.create_dataset("brain", data=file["half"][:].astype(ml_dtypes.bfloat16))

    assert inspect_weights(spoil(path, add)) == 7


def external_storage(file):
    file.create_dataset("x", (4,), "f4", external=[("/etc/passwd", 0, 16)])


def virtual(file):
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("/tmp/other.h5", "x", (4,))
    file.create_virtual_dataset("x", layout)


def without_data(file):
    file.create_dataset("x", (2**40,), "f4")


def chunked_without_data(file):
    file.create_dataset("x", (2**40,), "f4", chunks=(2**10,))


def filtered(file):
    file.create_dataset("x", (2**20,), "f4", compression="gzip", data=[0.0] * 2**20)


def deep(file):
    file.create_group("/".join("g" * 100))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda file: file.update(x=h5py.ExternalLink("/tmp/a.h5", "/x")), "a link"),
        (lambda file: file.update(x=h5py.SoftLink("/layers")), "a link"),
        (lambda file: file["layers"].update(loop=file), "two names"),
        (lambda file: file.update(x=file["layers/dense/vars/0"]), "two names"),
        (external_storage, "are in another file"),
        (virtual, "are in another file"),
        (without_data, "declare 4398046511104 bytes but have 0"),
        (chunked_without_data, "declare 4398046511104 bytes but have 0"),
        (filtered, "have a filter"),
        (deep, "groups of weights have 65 levels"),
        (lambda file: file.update(x="text"), "type object"),
        (lambda file: file.update(x=h5py.Empty("f4")), "have no shape"),
        (lambda file: file.update(t=np.dtype("f4")), "not an array"),
        (
            lambda file: file.create_dataset("x", data=[(1, 2)], dtype="i4,i4"),
            "have type",
        ),
    ],
)
def test_anything_else(change, message, path):
    with pytest.raises(UnsafeModelError, match=message):
        inspect_weights(spoil(path, change))


@pytest.mark.parametrize("content", [b"", b"no HDF5", b"\x89HDF\r\n\x1a\n" + bytes(99)])
def test_no_hdf5(content, path):
    path.write_bytes(content)
    with pytest.raises(UnsafeModelError, match="weights are corrupt"):
        inspect_weights(path)
