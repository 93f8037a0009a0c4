import errno
import os
import signal

import pytest

from keras_diffkd.export.records import folder as folders
from keras_diffkd.export.records.folder import check_target, recover, replacing


def test_foreign_folders_are_refused_and_not_touched(tmp_path):
    notes = tmp_path / "notes.txt"
    notes.write_text("mine")

    with pytest.raises(ValueError, match="not an export"):
        check_target(tmp_path, None)
    with pytest.raises(ValueError, match="is a file"):
        check_target(notes, None)
    assert notes.read_text() == "mine"


def test_files_in_an_export_that_are_not_ours_are_not_deleted(export_copy):
    (export_copy / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"not part of the export: notes\.txt"):
        check_target(export_copy, {"experiment": "small"})


def test_a_report_beside_the_artifacts_may_be_replaced(export_copy, tmp_path):
    (export_copy / "report.html").write_text("old")
    check_target(export_copy, {"experiment": "small"})
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "report.html").write_text("old")
    check_target(alone, None)


@pytest.mark.parametrize("source", [None, {"experiment": "large"}])
def test_export_of_another_experiment_is_refused(source, export_copy):
    with pytest.raises(ValueError, match="another experiment, 'small'"):
        check_target(export_copy, source)
    check_target(export_copy, {"experiment": "small", "run_dir": "elsewhere"})


def test_absent_and_empty_folders_are_fine(tmp_path):
    check_target(tmp_path, None)
    check_target(tmp_path / "absent", None)


def test_replacing(tmp_path):
    target = tmp_path / "parent" / "export"
    for content in ("first", "second"):
        with replacing(target) as folder:
            assert list(folder.iterdir()) == []
            (folder / "file").write_text(content)
        assert (target / "file").read_text() == content
        assert [path.name for path in target.parent.iterdir()] == ["export"]


def test_failure_keeps_the_old(tmp_path):
    target = tmp_path / "export"
    target.mkdir()
    (target / "file").write_text("old")

    def fail():
        with replacing(target) as folder:
            (folder / "file").write_text("new")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()

    assert (target / "file").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["export"]


@pytest.mark.parametrize("killed", ["while writing", "between renames", "at the end"])
def test_what_a_killed_process_leaves(killed, tmp_path):
    """The states of the folder at each moment, for an old and a new export."""
    names = {
        "while writing": {"export": "old", ".export.partial": "new"},
        "between renames": {".export.previous": "old", ".export.partial": "new"},
        "at the end": {".export.previous": "old", "export": "new"},
    }[killed]
    for name, content in names.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(content)
    target = tmp_path / "export"

    recover(target)
    expected = "new" if killed == "at the end" else "old"
    assert (target / "file").read_text() == expected

    with replacing(target) as folder:
        assert (target / "file").read_text() == expected
        (folder / "file").write_text("newest")
    assert (target / "file").read_text() == "newest"
    assert [path.name for path in tmp_path.iterdir()] == ["export"]


def test_what_was_left_is_recovered_before_the_next_export(tmp_path):
    (tmp_path / ".export.previous").mkdir()
    (tmp_path / ".export.previous" / "model").write_text("old")

    def fail():
        with replacing(tmp_path / "export"):
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert content(tmp_path / "export") == {"model": "old"}


def content(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


def write_and_die(target, stage):
    """Replaces an export in a process that kills itself at a call of the system."""
    calls = 0

    def dying(function):
        def call(*arguments, **options):
            nonlocal calls
            calls += 1
            if calls > stage:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **options)

        return call

    child = os.fork()
    if child == 0:
        for module, name in ((folders.os, "replace"), (folders.os, "fsync")):
            setattr(module, name, dying(getattr(module, name)))
        folders.shutil.rmtree = dying(folders.shutil.rmtree)
        with replacing(target) as folder:
            for name in ("model", "manifest"):
                (folder / name).write_text("new")
                dying(lambda: None)()
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_killed_at_every_stage(tmp_path):
    target = tmp_path / "export"
    old, new = (dict.fromkeys(("model", "manifest"), text) for text in ("old", "new"))
    seen, stage, finished = [], 0, False
    while not finished:
        for path in tmp_path.iterdir():
            folders.shutil.rmtree(path)
        target.mkdir()
        for name, text in old.items():
            (target / name).write_text(text)
        finished = write_and_die(target, stage)
        stage += 1

        recover(target)
        seen.append(content(target))
        assert seen[-1] in (old, new)
        # The next export works, and leaves nothing else.
        with replacing(target) as folder:
            (folder / "model").write_text("newest")
        assert content(target) == {"model": "newest"}
        assert [path.name for path in tmp_path.iterdir()] == ["export"]
    assert stage > 8
    assert seen[0] == old
    assert seen[-1] == new


@pytest.mark.parametrize("call", ["write", "fsync", "replace"])
def test_no_room_on_the_disk(call, tmp_path, monkeypatch):
    target = tmp_path / "export"
    target.mkdir()
    (target / "model").write_text("old")
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def fail(*arguments):
        # What moves the old one back works.
        if call == "replace" and os.fspath(arguments[0]).endswith(".previous"):
            return real(*arguments)
        raise full

    def export():
        with replacing(target) as folder:
            (folder / "model").write_text("new")
            if call == "write":
                raise full

    real = os.replace
    if call != "write":
        monkeypatch.setattr(folders.os, call, fail)
    with pytest.raises(OSError, match="No space left"):
        export()
    monkeypatch.undo()
    assert content(target) == {"model": "old"}
    assert [path.name for path in tmp_path.iterdir()] == ["export"]
