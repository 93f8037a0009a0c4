"""Checks a `.keras` file before Keras opens it."""

import io
import json
import stat
import tempfile
import zipfile
import zlib

from keras_diffkd.errors import UnsafeModelError
from keras_diffkd.models.files.allowed_classes import check_classes
from keras_diffkd.models.files.hdf5_file import inspect_weights

CONFIG = "config.json"
METADATA = "metadata.json"
WEIGHTS = "model.weights.h5"
# Largest size of each member in bytes, after decompression. The largest config in
# keras.applications (NASNetLarge) has 1 MB. The weights may be four billion float32.
MAX_SIZES = {CONFIG: 8 * 2**20, METADATA: 64 * 2**10, WEIGHTS: 16 * 2**30}
# Largest size of the whole file. Keras stores the members without compression.
MAX_FILE_SIZE = 17 * 2**30
# Largest ratio of a member's size to its size in the file. Any ratio is allowed below
# the floor.
MAX_EXPANSION = 100
EXPANSION_FLOOR = 64 * 2**20
# Bytes to read at once, and the largest size of the table of contents.
CHUNK = 2**20
# Largest weights, in bytes, that are checked in memory, not in a temporary file.
IN_MEMORY = 64 * 2**20


class _Archive(io.FileIO):
    """Reads a file in chunks of limited size, whatever size the file declares."""

    def read(self, size=-1):
        if size < 0:  # zipfile reads the table of contents at the end this way.
            here = self.tell()
            size = self.seek(0, io.SEEK_END) - here
            self.seek(here)
        if size > CHUNK:
            raise UnsafeModelError(f"it has a table of contents of {size} bytes")
        return super().read(size)


def inspect_keras_file(path, *, allow_classes=()):
    """Checks a `.keras` file without building any part of it.

    The archive must have exactly the three members that Keras writes for a model, with
    the sizes and checksums that it declares and within `MAX_SIZES`. The weights must
    pass `inspect_weights`. The config must be JSON without repeated keys and pass
    `check_classes`.

    The file is read once, in chunks of `CHUNK` bytes, so the time is proportional to
    its size. The check uses at most `IN_MEMORY` bytes of memory, plus about twenty
    times the size of the config. Weights larger than `IN_MEMORY` go to a temporary
    file.

    Args:
        path: Path of the file.
        allow_classes: Strings, as in `check_classes`.

    Returns:
        Integer, the number of values in the weights.

    Raises:
        UnsafeModelError: If the file is damaged or has other content.
    """
    try:
        with _Archive(path) as file:
            size = file.seek(0, io.SEEK_END)
            if size > MAX_FILE_SIZE:
                raise UnsafeModelError(f"it has more than {MAX_FILE_SIZE} bytes")
            with zipfile.ZipFile(file) as archive:
                members = _check_members(archive.infolist(), size)
                return _inspect(archive, members, allow_classes)
    except UnsafeModelError as error:
        raise UnsafeModelError(
            f"The model file {str(path)!r} is refused: {error}. No part of it was "
            "loaded. Do not use the file unless you trust its source."
        ) from error
    # The standard library raises these for a broken archive.
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        NotImplementedError,
        OSError,
        RuntimeError,
        ValueError,
    ) as error:
        raise UnsafeModelError(
            f"The model file {str(path)!r} is corrupt or incomplete ({error}). Copy "
            "the file again, or save the model again."
        ) from error


def _inspect(archive, members, allow_classes):
    with tempfile.SpooledTemporaryFile(max_size=IN_MEMORY) as weights:
        _extract(archive, members[WEIGHTS], weights)
        number = inspect_weights(weights)
    _extract(archive, members[METADATA], io.BytesIO())
    config = io.BytesIO()
    _extract(archive, members[CONFIG], config)
    check_classes(parse_config(config.getvalue()), allow_classes)
    return number


def _check_members(infos, size):
    """Returns the members by name if they are valid and do not overlap."""
    members, end = {}, 0
    for info in sorted(infos, key=lambda info: info.header_offset):
        name = info.filename
        if name in members:
            raise UnsafeModelError(f"it has {name!r} twice")
        if name not in MAX_SIZES:
            raise UnsafeModelError(
                f"it has {name!r}, but a model has only {', '.join(MAX_SIZES)}"
            )
        _check_member(info)
        if info.header_offset < end:
            raise UnsafeModelError(f"{name!r} overlaps another part")
        end = info.header_offset + info.compress_size
        if end > size:
            raise UnsafeModelError(f"{name!r} extends beyond the end of the file")
        members[name] = info
    missing = [name for name in MAX_SIZES if name not in members]
    if missing:
        raise UnsafeModelError(f"it could not be loaded: it has no {missing[0]!r}")
    return members


def _check_member(info):
    name, mode = info.filename, info.external_attr >> 16
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        raise UnsafeModelError(f"{name!r} is a link, not a file")
    if info.flag_bits & 1:
        raise UnsafeModelError(f"{name!r} is encrypted")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise UnsafeModelError(f"{name!r} is compressed in a way Keras does not use")
    is_stored = info.compress_type == zipfile.ZIP_STORED
    if is_stored and info.compress_size != info.file_size:
        raise UnsafeModelError(f"{name!r} has two sizes")
    if info.file_size > MAX_SIZES[name]:
        raise UnsafeModelError(
            f"{name!r} has {info.file_size} bytes, more than the allowed "
            f"{MAX_SIZES[name]}"
        )
    if info.file_size > max(EXPANSION_FLOOR, MAX_EXPANSION * info.compress_size):
        raise UnsafeModelError(
            f"{name!r} expands from {info.compress_size} to {info.file_size} bytes"
        )


def _extract(archive, info, target):
    """Copies a member. zipfile compares the checksum at its end."""
    count = 0
    with archive.open(info) as source:
        # zipfile decompresses no more bytes than the member declares.
        while chunk := source.read(CHUNK):
            count += len(chunk)
            target.write(chunk)
    if count != info.file_size:
        raise UnsafeModelError(
            f"{info.filename!r} declares {info.file_size} bytes but has {count}"
        )
    target.seek(0)


def parse_config(content):
    """Parses a `config.json` as Keras does, and rejects repeated keys.

    Args:
        content: Bytes.

    Raises:
        UnsafeModelError: If it is not JSON, is nested too deeply, or repeats a key.

    Example:

    >>> parse_config(b'{"class_name": "Dense"}')
    {'class_name': 'Dense'}
    """

    def unique(pairs):
        found = dict(pairs)
        if len(found) != len(pairs):
            keys = [key for key, _ in pairs]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise UnsafeModelError(f"{CONFIG} has the key {twice!r} twice")
        return found

    try:
        return json.loads(content, object_pairs_hook=unique)
    except RecursionError as error:
        raise UnsafeModelError(f"{CONFIG} is nested too deeply") from error
    except UnsafeModelError:
        raise
    except ValueError as error:
        raise UnsafeModelError(f"{CONFIG} is not JSON: {error}") from error
