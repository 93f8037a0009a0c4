"""Writes files and folders that are complete or absent, even after a crash."""

import contextlib
import os
from pathlib import Path

from keras_diffkd.full_disk import named_if_full


def move_into_place(temporary, path):
    """Renames a finished file or folder to its final name, atomically.

    The content is on the disk before the rename, and the new name is on the disk
    before this function returns.

    Args:
        temporary: Path of a file or folder, in the same folder as `path`.
        path: Path of a file, which is replaced, or of a folder that does not exist.

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
def written_aside(path, needed=None):
    """Yields a temporary path that replaces `path` when the block succeeds.

    Even after the machine crashes, either the old file or the whole new one is there.

    Args:
        path: Path of a file, which need not exist.
        needed: Integer, its size in bytes, for the message about a full disk.

    Raises:
        FullDiskError: If the disk is full.

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
    with named_if_full(path, needed):
        try:
            yield aside
            move_into_place(aside, path)
        finally:
            aside.unlink(missing_ok=True)


@contextlib.contextmanager
def kept_if_filled(folder):
    """Creates a folder, and removes it after the block if it is empty then.

    The same holds for the folders around it that had to be created.

    Args:
        folder: Path, which may exist.

    Example:

    >>> import pathlib, tempfile
    >>> outer = pathlib.Path(tempfile.mkdtemp()) / "runs"
    >>> with kept_if_filled(outer / "digits") as folder:
    ...     folder.exists()
    True
    >>> outer.exists()
    False
    """
    folder = Path(folder)
    created = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield folder
    finally:
        for path in created:
            # It has something, of this process or of another one.
            with contextlib.suppress(OSError):
                path.rmdir()


def flush(path):
    """Waits until a file, or a folder and everything in it, is on the disk.

    Raises:
        OSError: If the disk is full.
    """
    for inside in Path(path).rglob("*"):
        sync(inside)
    sync(path)


def sync(path):
    """Waits until a file's content, or a folder's list of names, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
