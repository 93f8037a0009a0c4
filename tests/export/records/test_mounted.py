"""An output folder that is a mount point, such as a container's volume."""

import errno
import os
from pathlib import Path

import pytest

from keras_diffkd.export.records import folder as folders
from keras_diffkd.export.records.folder import (
    check_target,
    is_mount_point,
    recover,
    replacing,
)


@pytest.fixture
def volume(tmp_path, monkeypatch):
    """A folder that the system refuses to rename, as it refuses a mount point."""
    folder = tmp_path / "out"
    folder.mkdir()
    replace = os.replace

    def refuse(source, target):
        if folder in (Path(source), Path(target)):
            raise OSError(errno.EBUSY, "Device or resource busy")
        replace(source, target)

    monkeypatch.setattr(os, "replace", refuse)
    monkeypatch.setattr(folders, "is_mount_point", lambda path: path == folder)
    return folder


def content(folder):
    return {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}


def put(folder, **files):
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)


def test_mount_points_are_known():
    assert is_mount_point(Path("/"))
    assert is_mount_point(Path("/proc"))
    assert not is_mount_point(Path(__file__).parent)


def test_content_is_replaced(volume):
    for names in (["model", "old"], ["model", "new"]):
        with replacing(volume) as folder:
            put(folder, **{name: name for name in names})
        assert content(volume) == {name: name for name in names}
        assert len(list(volume.iterdir())) == 2
    assert [path.name for path in volume.parent.iterdir()] == ["out"]


def test_failure_keeps_the_old(volume):
    put(volume, model="old")

    def fail():
        with replacing(volume) as folder:
            put(folder, model="new")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert content(volume) == {"model": "old"}
    assert len(list(volume.iterdir())) == 1


@pytest.mark.parametrize(
    "state",
    [
        {".": {"a": "old", "b": "old"}, ".partial": {"a": "new"}},
        {".": {"b": "old"}, ".leaving": {"a": "old"}, ".partial": {"a": "new"}},
        {".previous": {"a": "old", "b": "old"}, ".partial": {"a": "new"}},
        {".": {"a": "new"}, ".previous": {"a": "old", "b": "old"}, ".partial": {}},
    ],
    ids=["while writing", "moving out", "moved out", "moving in"],
)
def test_what_a_killed_process_leaves(state, volume):
    for name, files in state.items():
        put(volume / name, **files)
    recover(volume)
    assert content(volume) == {"a": "old", "b": "old"}
    with replacing(volume) as folder:
        put(folder, a="newest")
    assert content(volume) == {"a": "newest"}
    assert len(list(volume.iterdir())) == 1


def test_a_new_file_system_is_empty(volume):
    (volume / "lost+found").mkdir()
    check_target(volume, None)
    (volume / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="not an export"):
        check_target(volume, None)
