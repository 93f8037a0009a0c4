import errno
import json
import os
import subprocess
import sys
import time

import pytest

from keras_diffkd import folder_lock
from keras_diffkd.folder_lock import FILE_NAME, locked

OTHER = {
    "process": 77,
    "host": "elsewhere",
    "since": "2026-11-28 19:50:00 UTC",
    "command": "diffkd-distill --run_dir=r",
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "runs" / "r" / FILE_NAME


def leave(path, record, age=0):
    """Leaves the lock of a process that nobody sees."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record))
    os.utime(path, (time.time() - age,) * 2)


def test_a_second_process_is_told_who_the_first_one_is(path):
    # A process without TensorFlow.
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import fcntl, sys; file = open(sys.argv[1], 'a+'); "
            "fcntl.flock(file, fcntl.LOCK_EX); print(flush=True); sys.stdin.read()",
            leave(path, OTHER) or path,
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    holder.stdout.readline()
    os.utime(path, (0, 0))  # However old: the system knows that it is alive.
    message = (
        r"Another process writes to r \(process 77 on elsewhere, since 2026-11-28 "
        r"19:50:00 UTC: diffkd-distill --run_dir=r\)"
    )
    with pytest.raises(ValueError, match=message), locked(path, "writes to r"):
        pass
    assert json.loads(path.read_text()) == OTHER
    holder.kill()
    holder.communicate()
    # Killed: its file stays, its lock does not.
    with locked(path, "writes to r"):
        assert json.loads(path.read_text())["process"] == os.getpid()


def test_nothing_is_left(path, tmp_path):
    with locked(path, "writes"):
        with pytest.raises(ValueError, match="Another process"), locked(path, "writes"):
            pass
        (path.parent / "model").write_text("")
        assert path.exists()
    assert [entry.name for entry in path.parent.iterdir()] == ["model"]
    (path.parent / "model").unlink()
    with pytest.raises(KeyError), locked(path, "writes"):
        raise KeyError
    assert path.parent.exists(), "it was there before"
    path.parent.rmdir()
    path.parent.parent.rmdir()
    with locked(path, "writes"):
        (tmp_path / "runs" / "other").mkdir()
    assert os.listdir(tmp_path / "runs") == ["other"]


@pytest.mark.parametrize("age", [5, 500])
@pytest.mark.parametrize("locks", ["of each host", "none", "windows"])
def test_where_locks_are_not_shared_a_process_lives_while_it_touches_its_file(
    path, monkeypatch, age, locks
):
    if locks == "windows":
        monkeypatch.setattr(folder_lock, "fcntl", None)
    elif locks == "none":

        def refuse(*arguments):
            raise OSError(errno.EOPNOTSUPP, "")

        monkeypatch.setattr(folder_lock.fcntl, "flock", refuse)
    leave(path, OTHER, age)
    if age < folder_lock.DEAD_SECONDS:
        with pytest.raises(ValueError, match="on elsewhere"), locked(path, "writes"):
            pass
        assert json.loads(path.read_text()) == OTHER
        return
    monkeypatch.setattr(folder_lock, "BEAT_SECONDS", 0.01)
    with locked(path, "writes"):
        os.utime(path, (0, 0))
        deadline = time.monotonic() + 10
        while path.stat().st_mtime == 0 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert path.stat().st_mtime > 0
    assert not path.exists()


def test_a_folder_that_nobody_can_write_needs_no_lock(path, monkeypatch):
    path.parent.mkdir(parents=True)

    def refuse(*arguments, **options):
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    monkeypatch.setattr("builtins.open", refuse)
    with locked(path, "writes"):
        assert not path.exists()


def test_a_damaged_file_does_not_keep_anybody_out(path):
    path.parent.mkdir(parents=True)
    path.write_text("[1")
    with locked(path, "writes"):
        assert json.loads(path.read_text())["process"] == os.getpid()
