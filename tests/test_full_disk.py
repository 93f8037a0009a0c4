import errno

import pytest

from keras_diffkd import full_disk
from keras_diffkd.full_disk import FullDiskError, named_if_full


def fail(cause):
    """Fails as libraries do that wrap the system's error, or write its words."""
    if cause == "wrapped":
        try:
            raise OSError(errno.EDQUOT, "Disk quota exceeded")
        except OSError as error:
            raise RuntimeError("the conversion failed") from error
    if cause == "while handling":
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError:
            raise ValueError("close failed")  # noqa: B904
    raise RuntimeError("write() failed: No space left on device; file.cc:3")


@pytest.mark.parametrize("cause", ["wrapped", "while handling", "words"])
def test_names_the_path_and_its_size(tmp_path, monkeypatch, cause):
    monkeypatch.setattr(full_disk.tempfile, "gettempdir", lambda: str(tmp_path))
    usage = full_disk.shutil.disk_usage(tmp_path)._replace(free=1234)
    monkeypatch.setattr(full_disk.shutil, "disk_usage", lambda place: usage)
    path = tmp_path / "new" / "model.keras"
    message = rf"{path}: it needs about 98,765 bytes, and 1,234 bytes are free in "
    caught = pytest.raises(FullDiskError, match=message + f"{tmp_path}[.]")
    with caught as found, named_if_full("outer"), named_if_full(path, 98765):
        fail(cause)
    assert found.value.errno == errno.ENOSPC


def test_other_errors_stay_what_they_are(tmp_path):
    with pytest.raises(PermissionError), named_if_full(tmp_path / "x", 3):
        raise PermissionError(errno.EACCES, "Permission denied")
