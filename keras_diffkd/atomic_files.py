"""Files and folders that are complete or not there, after a crash too."""

import contextlib
import os
from pathlib import Path


def move_into_place(temporary, path):
    """Gives a finished file or folder its name, in one step that survives a crash.

    What it holds is on the disk before it has the name, and the name is before this
    returns.

    Args:
        temporary: File, or folder of files, in the folder of `path`.
        path: A file, which is replaced, or a folder that does not exist.

    Example:

    >>> import pathlib, tempfile
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> _ = (folder / "partial").write_text("complete")
    >>> move_into_place(folder / "partial", folder / "final")
    >>> (folder / "final").read_text()
    'complete'
    """
    flush(temporary)
    os.replace(temporary, path)
    sync(Path(path).parent)


@contextlib.contextmanager
def written_aside(path):
    """Gives a temporary path beside `path`, which takes its place on success.

    After a crash of the machine too there is the old file or the whole new one.

    Args:
        path: A file, which need not exist.

    Example:

    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "flags.txt"
    >>> with written_aside(path) as aside:
    ...     _ = aside.write_text("complete")
    >>> path.read_text()
    'complete'
    """
    path = Path(path)
    aside = path.with_name(f".{path.stem}.partial{path.suffix}")
    try:
        yield aside
        move_into_place(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def flush(path):
    """Waits until the disk has a file, or a folder with all that is in it.

    Raises:
        OSError: If there was no room for it after all.
    """
    for inside in Path(path).rglob("*"):
        sync(inside)
    sync(path)


def sync(path):
    """Waits until the disk has a file's content, or a folder's list of names."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
