"""Says which path did not fit on a full disk, and what it needs."""

import contextlib
import errno
import os
import shutil
import tempfile
from pathlib import Path

_FULL = (errno.ENOSPC, errno.EDQUOT)


class FullDiskError(OSError):
    """Raised if a file does not fit on the disk; the message names it.

    Args:
        path: Path of what was written.
        needed: Integer, its size in bytes, or `None` if it is unknown.
    """

    def __init__(self, path, needed=None):
        # Converters also write temporary files.
        places = {_nearest_folder(path), Path(tempfile.gettempdir())}
        free, place = min((shutil.disk_usage(place).free, place) for place in places)
        size = "" if needed is None else f"it needs about {needed:,} bytes, and "
        super().__init__(
            f"No space left on the disk for {os.fspath(path)}: {size}{free:,} bytes "
            f"are free in {place}. Free some space, or choose another folder"
        )
        self.errno = errno.ENOSPC


def is_full_disk(error):
    """Returns whether an exception, or one that it came from, is of a full disk.

    Args:
        error: Exception.

    Example:

    >>> is_full_disk(OSError(errno.ENOSPC, "No space left on device"))
    True
    """
    seen = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        is_ours = isinstance(error, OSError) and error.errno in _FULL
        # Native code raises exceptions of its own.
        if is_ours or "No space left on device" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


@contextlib.contextmanager
def named_if_full(path, needed=None):
    """Raises `FullDiskError` for a path if the block finds the disk full.

    Args:
        path: Path of what the block writes.
        needed: Integer, its size in bytes, or `None` if it is unknown.

    Example:

    >>> with named_if_full("model.keras", needed=1000):
    ...     raise OSError(errno.ENOSPC, "No space left on device")
    Traceback (most recent call last):
    keras_diffkd.full_disk.FullDiskError: No space left on the disk for model.keras: ...
    """
    try:
        yield
    except FullDiskError:
        raise
    except Exception as error:
        if not is_full_disk(error):
            raise
        raise FullDiskError(path, needed) from error


def _nearest_folder(path):
    path = Path(path).absolute()
    return next(folder for folder in path.parents if folder.exists())
