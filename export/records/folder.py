"""Replaces a whole export folder at once, or leaves it as it was."""

import contextlib
import os
import shutil
from pathlib import Path

from keras_diffkd.atomic_files import flush, move_into_place
from keras_diffkd.errors import ManifestError
from keras_diffkd.folder_lock import locked
from keras_diffkd.full_disk import named_if_full

from .manifest import FILE_NAME, Manifest
from .mounted import LOCK, OTHERS, recover_inside, replacing_inside
from .page import FOLDER as PAGE
from .page import is_page

# Reports that may lie beside the artifacts, and are replaced with them.
REPORTS = {"report.html", "report.json"}


def check_target(output_dir, source, replace=False):
    """Raises if `output_dir` holds anything but an export of the same experiment.

    Args:
        output_dir: folder that would be replaced.
        source: dict or None. Exports are of the same experiment when the values of
            `"experiment"` in their sources are equal.
        replace: bool. Whether it may be the export of another experiment.

    Raises:
        ValueError: if it is a file, a folder that is not ours, holds files that we
            did not write, or the export of another experiment.

    Example:

    ```python
    check_target("runs/digits/export", {"experiment": "digits"})
    ```
    """
    if not output_dir.exists():
        return
    advice = "Choose another folder, or move its content away. Nothing was written."
    if not output_dir.is_dir():
        raise ValueError(
            f"The output folder is a file. {advice} Received: '{output_dir}'"
        )
    present = {path.name for path in output_dir.iterdir()} - REPORTS
    if is_mount_point(output_dir):
        present -= OTHERS
    if not present:
        return
    try:
        manifest = Manifest.read(output_dir)
    except ManifestError as error:
        raise ValueError(
            f"The output folder is not empty and not an export "
            f"({FILE_NAME}: {error}). {advice} Received: '{output_dir}'"
        ) from error
    ours = {artifact.file for artifact in manifest.artifacts.values()}
    if is_page(output_dir / PAGE):
        ours.add(PAGE)
    foreign = sorted(present - ours - {FILE_NAME})
    if foreign:
        raise ValueError(
            "The output folder holds files that are not part of the export: "
            f"{', '.join(foreign)}. {advice} Received: '{output_dir}'"
        )
    old, new = _experiment(manifest.source), _experiment(source)
    if old != new and not replace:
        raise ValueError(
            f"'{output_dir}' holds the export of another experiment, {old!r}. "
            f"Received: the experiment {new!r}. {advice} Or pass replace=True "
            "(--replace)."
        )


@contextlib.contextmanager
def replacing(output_dir, needed=None):
    """Yields an empty sibling folder that replaces `output_dir` on success.

    If the body raises, the sibling is removed and `output_dir` is untouched. A
    process killed at any moment leaves either the old export or the new one: in
    `output_dir`, or, between the two renames, where `recover` finds it. So does a
    machine that loses power: what was written is on the disk before it is renamed.
    A mount point cannot be renamed; see `replacing_inside`.

    Args:
        output_dir: absolute `Path` that passed `check_target`.
        needed: int, about the size in bytes of what is written, or None.

    Raises:
        FullDiskError: if the disk is full.

    Example:

    ```python
    with replacing(Path("export").resolve()) as folder:
        (folder / "student.onnx").write_bytes(content)
    ```
    """
    replace = replacing_inside if is_mount_point(output_dir) else _replacing_beside
    with named_if_full(output_dir, needed), replace(output_dir) as folder:
        yield folder


@contextlib.contextmanager
def _replacing_beside(output_dir):
    output_dir.parent.mkdir(parents=True, exist_ok=True)
    partial = output_dir.with_name(f".{output_dir.name}.partial")
    previous = _previous(output_dir)
    # First put back the export that a killed process has moved.
    recover(output_dir)
    shutil.rmtree(partial, ignore_errors=True)
    shutil.rmtree(previous, ignore_errors=True)
    partial.mkdir()
    try:
        yield partial
        # A full disk shows here, while the old export has its name.
        flush(partial)
        # A folder cannot be renamed onto one that has files.
        if output_dir.exists():
            os.replace(output_dir, previous)
        move_into_place(partial, output_dir)
    except BaseException:
        recover(output_dir)
        shutil.rmtree(partial, ignore_errors=True)
        raise
    shutil.rmtree(previous, ignore_errors=True)


def only_writer(output_dir):
    """Returns the context in which no other process can export into a folder.

    It raises `ValueError` if another process does.

    Args:
        output_dir: absolute `Path`.

    Example:

    ```python
    with only_writer(Path("export").resolve()):
        (output_dir / "report.json").write_text(report)
    ```
    """
    # Not in the folder, which is renamed.
    path = output_dir.with_name(f".{output_dir.name}.lock")
    if is_mount_point(output_dir):
        path = output_dir / LOCK
    return locked(path, f"exports to {output_dir}")


def recover(output_dir):
    """Moves the previous export back if a process was killed between two renames.

    Example:

    ```python
    recover(Path("export").resolve())
    ```
    """
    if is_mount_point(output_dir):
        recover_inside(output_dir)
        return
    previous = _previous(output_dir)
    if previous.exists() and not output_dir.exists():
        os.replace(previous, output_dir)


def is_mount_point(path):
    """Returns whether a file system, or a folder of one, is mounted at a path.

    Example:

    ```python
    is_mount_point(Path("/"))  # True
    ```
    """
    if os.path.ismount(path):
        return True
    try:
        lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # Not Linux.
        return False
    # Only this list has folders of the same file system. Spaces are octal there.
    mounted = {line.split()[4].replace("\\040", " ") for line in lines}
    return str(path) in mounted


def _previous(output_dir):
    return output_dir.with_name(f".{output_dir.name}.previous")


def _experiment(source):
    return source.get("experiment") if isinstance(source, dict) else None
