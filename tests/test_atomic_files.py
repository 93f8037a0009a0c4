import os

import pytest

from keras_diffkd import atomic_files as durable
from keras_diffkd.atomic_files import move_into_place


@pytest.fixture
def events(monkeypatch):
    """What happens, in order: names that are synced, and renames."""
    events = []
    sync, replace = durable.sync, os.replace
    monkeypatch.setattr(
        durable, "sync", lambda path: (events.append(path.name), sync(path))
    )
    monkeypatch.setattr(
        os, "replace", lambda a, b: (events.append("rename"), replace(a, b))
    )
    return events


def test_content_is_on_the_disk_before_the_name_is(tmp_path, events):
    (tmp_path / "unit").mkdir()
    for name in ("a", "b"):
        (tmp_path / "unit" / name).write_text(name)
    move_into_place(tmp_path / "unit", tmp_path / "final")
    assert sorted(events[:2]) == ["a", "b"]
    assert events[2:] == ["unit", "rename", tmp_path.name]
    assert (tmp_path / "final" / "b").read_text() == "b"


def test_a_file_is_replaced(tmp_path, events):
    (tmp_path / "final").write_text("old")
    (tmp_path / "partial").write_text("new")
    move_into_place(tmp_path / "partial", tmp_path / "final")
    assert events == ["partial", "rename", tmp_path.name]
    assert [path.read_text() for path in tmp_path.iterdir()] == ["new"]


def test_a_folder_that_is_there_is_not_replaced(tmp_path):
    for name in ("partial", "final"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    with pytest.raises(OSError, match="final"):
        move_into_place(tmp_path / "partial", tmp_path / "final")
    assert (tmp_path / "final" / "file").read_text() == "final"
