"""Writes and compares checksums of model files, in the format of `sha256sum`.

`sha256sum --check student.keras.sha256` compares them without this package.
"""

import re
from pathlib import Path

from keras_diffkd.atomic_files import written_aside
from keras_diffkd.file_hashes import hash_file
from keras_diffkd.models import UnsafeModelError


def sidecar(path):
    """Returns the path of a file's checksum: `student.keras.sha256`."""
    path = Path(path)
    return path.with_name(f"{path.name}.sha256")


def forget_checksum(path):
    """Removes the checksum of a file before a new file replaces it.

    Two files cannot change at the same time. A process that is killed in between
    leaves a model without a checksum, never with a wrong one.
    """
    sidecar(path).unlink(missing_ok=True)


def write_checksum(path, digest):
    """Writes the checksum of a file beside it, atomically.

    Args:
        path: the file.
        digest: str, from `hash_file`.
    """
    path = Path(path)
    with written_aside(sidecar(path)) as aside:
        aside.write_text(f"{digest}  {path.name}\n", encoding="utf-8")


def check_checksum(path):
    """Raises an error if a file does not match its checksum.

    A file from elsewhere may have no checksum. The weaker checksums inside a `.keras`
    file still detect damage when it is opened.

    Args:
        path: the file.

    Raises:
        UnsafeModelError: if file and checksum differ.
    """
    path, beside = Path(path), sidecar(path)
    if not beside.exists() or not path.is_file():
        return
    # A damaged sidecar may be anything, and large.
    with open(beside, "rb") as file:
        text = file.read(2**12).decode(errors="replace")
    line = re.fullmatch(r"([0-9a-f]{64}) [ *](.+)\n?", text)
    if line is None or line[2] != path.name:
        raise UnsafeModelError(
            f"{str(beside)!r} is damaged: it is not the line that sha256sum prints for "
            f"{path.name!r}. If you trust the model file, remove the checksum"
        )
    found = hash_file(path)
    if found != line[1]:
        raise UnsafeModelError(
            f"The model file {str(path)!r} is corrupt or was changed: its SHA-256 is "
            f"{found}, and {beside.name!r} says {line[1]}. Copy both files again from "
            "where they were made; or remove them and run the command that trains this "
            "model again. If you changed the file yourself, remove the checksum"
        )
