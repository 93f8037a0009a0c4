"""Lets one process at a time write to a folder."""

import contextlib
import datetime
import errno
import json
import os
import socket
import sys
import threading
import time
from pathlib import Path

from keras_diffkd.atomic_files import kept_if_filled
from keras_diffkd.full_disk import named_if_full

try:
    import fcntl
except ImportError:  # Windows.
    fcntl = None

FILE_NAME = ".lock"
# A process that holds a lock touches it this often.
BEAT_SECONDS = 15
# Without a beat for so long, the process of another host is dead.
DEAD_SECONDS = 60
_LONGEST_COMMAND = 300
_READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


@contextlib.contextmanager
def locked(path, doing):
    """Holds a lock file, which names this process, until the block ends.

    The operating system frees the lock of a process that dies. Some network file
    systems do not share locks between hosts, and some have none: there, the process
    that holds the lock is alive as long as it touches the file, four times a minute.
    Nothing is locked where the file cannot be created, since nothing else can be
    written there either.

    Args:
        path: Path of the lock file. Its folder is created, and removed at the end if it
            is empty.
        doing: String, what the process does: `"writes to runs/digits"`.

    Raises:
        ValueError: If another process holds the lock. The message names it.

    Example:

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / FILE_NAME
    >>> with locked(path, "writes to runs/digits"):
    ...     path.exists()
    True
    >>> path.exists()
    False
    """
    path = Path(path)
    with kept_if_filled(path.parent):
        try:
            with named_if_full(path):
                file = _acquire(path, doing)
        except OSError as error:
            if error.errno not in _READ_ONLY:
                raise
            yield
            return
        ended = threading.Event()
        beat = threading.Thread(target=_beat, args=(path, ended), daemon=True)
        beat.start()
        try:
            yield
        finally:
            ended.set()
            beat.join()
            _release(file, path)


def _acquire(path, doing):
    """Returns the open lock file, with the record of this process in it."""
    while True:
        # Unlike "w", this keeps the record of another process.
        file = open(path, "a+", encoding="utf-8")  # noqa: SIM115
        try:
            is_free = _try_lock(file)
            holder = _read(file)
            if is_free is None:
                is_free = not holder or not _beats(file)
            elif is_free and holder and holder["host"] != socket.gethostname():
                is_free = not _beats(file)
            if not is_free:
                raise ValueError(_describe(holder, path, doing))
            if _is_at(file, path):
                _write(file, path)
                return file
        except BaseException:
            file.close()
            raise
        # Its holder removed it in between.
        file.close()


def _try_lock(file):
    """Returns whether the file is now locked; None if this system has no locks."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return None
        raise
    return True


def _release(file, path):
    if fcntl is None:  # Windows cannot remove a file that is open.
        file.close()
    # Removed while it is still locked: whoever opened it meanwhile opens it again.
    with contextlib.suppress(OSError):
        path.unlink()
    file.close()


def _is_at(file, path):
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except FileNotFoundError:
        return False


def _beats(file):
    return abs(time.time() - os.fstat(file.fileno()).st_mtime) < DEAD_SECONDS


def _beat(path, ended):
    while not ended.wait(BEAT_SECONDS):
        # Somebody may have removed it.
        with contextlib.suppress(OSError):
            os.utime(path)


def _this_process():
    name, *arguments = sys.argv or [""]
    command = " ".join([os.path.basename(name), *arguments])
    now = datetime.datetime.now(datetime.UTC)
    return {
        "process": os.getpid(),
        "host": socket.gethostname(),
        "since": now.strftime("%Y-%m-%d %H:%M:%S UTC"),
        "command": command[:_LONGEST_COMMAND],
    }


def _write(file, path):
    os.truncate(file.fileno(), 0)
    try:
        # Unbuffered: on a full disk, closing a buffered file fails once more.
        os.write(file.fileno(), json.dumps(_this_process()).encode())
    except OSError:
        path.unlink()
        raise


def _read(file):
    """Returns the record of the process that holds the lock, or None."""
    file.seek(0)
    try:
        holder = json.loads(file.read())
        return {key: holder[key] for key in ("process", "host", "since", "command")}
    except (ValueError, KeyError, TypeError):
        return None


def _describe(holder, path, doing):
    who = "it has not written its name yet"
    if holder:
        who = (
            f"process {holder['process']} on {holder['host']}, since "
            f"{holder['since']}: {holder['command']}"
        )
    return (
        f"Another process {doing} ({who}). Wait until it ends, or choose another "
        f"folder. If it no longer runs, try again in {DEAD_SECONDS} seconds. Its lock "
        f"is {path}"
    )
