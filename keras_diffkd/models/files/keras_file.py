"""What a `.keras` file may be, checked before Keras opens it."""

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
# Bytes of each member after decompression. The largest config of keras.applications
# (NASNetLarge) has 1 MB; the weights are those of four billion numbers in float32.
MAX_SIZES = {CONFIG: 8 * 2**20, METADATA: 64 * 2**10, WEIGHTS: 16 * 2**30}
# Of the whole file. Keras stores members as they are, so it is not much more.
MAX_FILE_SIZE = 17 * 2**30
# How many times larger than in the file a member may become; below the floor, any.
MAX_EXPANSION = 100
EXPANSION_FLOOR = 64 * 2**20
# Bytes that are read at once, so also of the table of contents.
CHUNK = 2**20
# Bytes of weights that are looked at in memory; more of them in a temporary file.
IN_MEMORY = 64 * 2**20


class _Archive(io.FileIO):
    """A file that never reads more than a chunk, whatever size the file declares."""

    def read(self, size=-1):
        if size < 0:  # To the end, from which zipfile starts.
            here = self.tell()
            size = self.seek(0, io.SEEK_END) - here
            self.seek(here)
        if size > CHUNK:
            raise UnsafeModelError(f"it has a table of contents of {size} bytes")
        return super().read(size)


def inspect_keras_file(path, *, allow_classes=()):
    """Checks a `.keras` file without building anything of it.

    The archive must have the three members that Keras writes for a model, once each,
    with the sizes and checksums that it declares and within `MAX_SIZES`; the weights
    must be what `inspect_weights` lets through; the config must be JSON without
    repeated keys that passes `check_classes`.

    One pass over the file, in chunks of `CHUNK` bytes: time is in proportion to its
    size. Memory is at most `IN_MEMORY`, and some twenty times the config; weights above
    `IN_MEMORY` are copied into a temporary file meanwhile.

    Args:
        path: Path of the file.
        allow_classes: Strings, see `check_classes`.

    Returns:
        Integer, how many numbers the weights have.

    Raises:
        UnsafeModelError: If the file is damaged, or anything else than that.

    Example:

    ```python
    inspect_keras_file("student.keras")  # 846
    ```
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
            f"The model file {str(path)!r} is refused: {error}. Nothing of it was "
            "loaded. Do not use it unless you know who made it."
        ) from error
    # What the standard library raises of a broken archive.
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
            "it again, or train and save the model again."
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
    """Returns the members by name if they are those of a model, and lie apart."""
    members, end = {}, 0
    for info in sorted(infos, key=lambda info: info.header_offset):
        name = info.filename
        if name in members:
            raise UnsafeModelError(f"it has {name!r} twice")
        if name not in MAX_SIZES:
            raise UnsafeModelError(
                f"it has {name!r}, and a model has {', '.join(MAX_SIZES)} alone"
            )
        _check_member(info)
        if info.header_offset < end:
            raise UnsafeModelError(f"{name!r} lies inside another part")
        end = info.header_offset + info.compress_size
        if end > size:
            raise UnsafeModelError(f"{name!r} would end outside the file")
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
            f"{name!r} has {info.file_size} bytes, at most {MAX_SIZES[name]} are read"
        )
    if info.file_size > max(EXPANSION_FLOOR, MAX_EXPANSION * info.compress_size):
        raise UnsafeModelError(
            f"{name!r} grows from {info.compress_size} to {info.file_size} bytes"
        )


def _extract(archive, info, target):
    """Copies a member; reading its end compares the checksum."""
    count = 0
    with archive.open(info) as source:
        # No more than it declares is decompressed: zipfile stops there.
        while chunk := source.read(CHUNK):
            count += len(chunk)
            target.write(chunk)
    if count != info.file_size:
        raise UnsafeModelError(
            f"{info.filename!r} declares {info.file_size} bytes and has {count}"
        )
    target.seek(0)


def parse_config(content):
    """Parses a `config.json` as Keras does, and refuses keys that are there twice.

    Args:
        content: Bytes.

    Raises:
        UnsafeModelError: If it is no JSON, is nested too deep, or repeats a key.

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
        raise UnsafeModelError(f"{CONFIG} is nested too deep") from error
    except UnsafeModelError:
        raise
    except ValueError as error:
        raise UnsafeModelError(f"{CONFIG} is no JSON: {error}") from error
