"""Replaces the content of a folder that cannot be renamed, such as a mount point.

A container's volume (`docker run --volume $PWD/out:/out`) is one. Its content is moved
file by file, so that a process killed in between leaves what `recover_inside` undoes.
"""

import contextlib
import os
import shutil

from keras_diffkd.atomic_files import flush, sync
from keras_diffkd.folder_lock import FILE_NAME as LOCK

PARTIAL = ".partial"
# The old export while it is moved out, once it is, and when it is not needed any more.
_LEAVING, _PREVIOUS, _REPLACED = ".leaving", ".previous", ".replaced"
# Names that are not part of an export; file systems make the last one.
OTHERS = {PARTIAL, _LEAVING, _PREVIOUS, _REPLACED, LOCK, "lost+found"}


@contextlib.contextmanager
def replacing_inside(output_dir):
    """Yields an empty folder whose content replaces that of `output_dir` on success.

    Args:
        output_dir: absolute `Path` of a mount point.

    Example:

    ```python
    with replacing_inside(Path("/out")) as folder:
        (folder / "student.onnx").write_bytes(content)
    ```
    """
    recover_inside(output_dir)
    partial = output_dir / PARTIAL
    shutil.rmtree(partial, ignore_errors=True)
    shutil.rmtree(output_dir / _REPLACED, ignore_errors=True)
    partial.mkdir()
    try:
        yield partial
        # A full disk shows here, while the old export is where it was.
        flush(partial)
        (output_dir / _LEAVING).mkdir()
        _move_all(output_dir, output_dir / _LEAVING)
        os.replace(output_dir / _LEAVING, output_dir / _PREVIOUS)
        sync(output_dir)
        _move_all(partial, output_dir)
        sync(output_dir)
        os.replace(output_dir / _PREVIOUS, output_dir / _REPLACED)
    except BaseException:
        recover_inside(output_dir)
        shutil.rmtree(partial, ignore_errors=True)
        raise
    shutil.rmtree(output_dir / _REPLACED, ignore_errors=True)
    shutil.rmtree(partial, ignore_errors=True)


def recover_inside(output_dir):
    """Moves the previous export back if a process was killed while files were moved.

    Example:

    ```python
    recover_inside(Path("/out"))
    ```
    """
    leaving, previous = output_dir / _LEAVING, output_dir / _PREVIOUS
    if previous.exists():
        for path in _content(output_dir):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        # From here on nothing may be deleted: the old export comes back.
        os.replace(previous, leaving)
    if leaving.exists():
        _move_all(leaving, output_dir)
        leaving.rmdir()


def _move_all(folder, target):
    for path in _content(folder):
        os.replace(path, target / path.name)


def _content(folder):
    return [path for path in sorted(folder.iterdir()) if path.name not in OTHERS]
