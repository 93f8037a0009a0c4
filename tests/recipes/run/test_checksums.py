import shutil
import subprocess

import pytest

from keras_diffkd import atomic_files as durable
from keras_diffkd.file_hashes import hash_file
from keras_diffkd.models import UnsafeModelError
from keras_diffkd.recipes.run.checksums import (
    check_checksum,
    forget_checksum,
    sidecar,
    write_checksum,
)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "student.keras"
    path.write_bytes(b"a model")
    write_checksum(path, hash_file(path))
    return path


def test_file_as_it_was_written(path):
    check_checksum(path)
    assert sorted(p.name for p in path.parent.iterdir()) == [
        "student.keras",
        "student.keras.sha256",
    ]


@pytest.mark.skipif(not shutil.which("sha256sum"), reason="no sha256sum")
def test_format_is_that_of_sha256sum(path):
    command = ["sha256sum", "--check", "--strict", sidecar(path).name]
    subprocess.run(command, cwd=path.parent, check=True, capture_output=True)
    printed = subprocess.run(
        ["sha256sum", path.name], cwd=path.parent, check=True, capture_output=True
    )
    assert sidecar(path).read_bytes() == printed.stdout


@pytest.mark.parametrize("content", [b"", b"a mode", b"a model ", b"a Model"])
def test_changed_file(content, path):
    path.write_bytes(content)
    with pytest.raises(UnsafeModelError, match="is corrupt or was changed: its"):
        check_checksum(path)


@pytest.mark.parametrize(
    "text",
    ["", "student.keras", f"{'0' * 63}  student.keras\n", f"{'0' * 64}  other.keras\n"],
)
def test_damaged_checksum(text, path):
    sidecar(path).write_text(text)
    with pytest.raises(UnsafeModelError, match="student.keras.sha256' is damaged"):
        check_checksum(path)


def test_without_checksum(path):
    forget_checksum(path)
    forget_checksum(path)
    path.write_bytes(b"another")
    check_checksum(path)


def test_without_the_file(path):
    path.unlink()
    check_checksum(path)


def test_checksum_that_cannot_be_written(path, monkeypatch):
    def fail(descriptor):
        raise OSError(28, "No space left on device")

    before = sidecar(path).read_bytes()
    monkeypatch.setattr(durable.os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        write_checksum(path, "0" * 64)
    assert sidecar(path).read_bytes() == before
    assert len(list(path.parent.iterdir())) == 2
