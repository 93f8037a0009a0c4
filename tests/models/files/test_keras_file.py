import stat
import struct
import tracemalloc
import warnings
import zipfile

import pytest

from keras_diffkd.models import UnsafeModelError
from keras_diffkd.models.files import keras_file as limits
from keras_diffkd.models.files.keras_file import inspect_keras_file, parse_config

WEIGHTS = "model.weights.h5"


def refused(path, match):
    """Whether a file is refused, without much memory."""
    tracemalloc.start()
    try:
        with pytest.raises(UnsafeModelError, match=match) as error:
            inspect_keras_file(path)
        assert tracemalloc.get_traced_memory()[1] < 30 * 2**20
    finally:
        tracemalloc.stop()
    assert str(path) in str(error.value)
    return True


def test_what_keras_writes_passes(keras_file):
    assert inspect_keras_file(keras_file.write()) == 10
    assert inspect_keras_file(keras_file.write(zipfile.ZIP_DEFLATED)) == 10


@pytest.mark.parametrize("name", ["config.json", "metadata.json", WEIGHTS])
def test_missing_member(name, keras_file):
    del keras_file.parts[name]
    assert refused(keras_file.write(), f"could not be loaded: it has no '{name}'")


@pytest.mark.parametrize(
    "name",
    [
        "/etc/cron.d/job",
        "../../.bashrc",
        "assets/../../../.bashrc",
        "assets/vocabulary.txt",
        "model.weights.npz",
        "CONFIG.JSON",
        "assets/",
    ],
)
def test_unexpected_members(name, keras_file):
    keras_file.parts[name] = b"1"
    assert refused(keras_file.write(), f"it has '{name}', but a model has")


def test_a_member_that_is_there_twice(keras_file):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = keras_file.write()
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("config.json", "{}")
    assert refused(path, "it has 'config.json' twice")


def test_a_link_as_member(keras_file):
    path = keras_file.path
    with zipfile.ZipFile(path, "w") as archive:
        for name, part in keras_file.parts.items():
            info = zipfile.ZipInfo(name)
            if name == "config.json":
                info.external_attr = (stat.S_IFLNK | 0o777) << 16
                part = b"/etc/passwd"
            archive.writestr(info, part)
    assert refused(path, "'config.json' is a link")


def test_many_members(keras_file):
    path = keras_file.write()
    with zipfile.ZipFile(path, "a") as archive:
        for number in range(20_000):
            archive.writestr(f"{number:030}", b"")
    assert refused(path, "table of contents of")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compression_that_keras_does_not_use(method, keras_file):
    assert refused(keras_file.write(method), "compressed in a way")


def test_a_huge_member_that_packs_well(keras_file):
    with zipfile.ZipFile(keras_file.path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("config.json", "metadata.json"):
            archive.writestr(name, keras_file.parts[name])
        with archive.open(WEIGHTS, "w") as member:
            for _ in range(80):
                member.write(bytes(2**20))
    assert refused(keras_file.path, "expands from .* to 83886080 bytes")


def test_a_config_above_the_limit(keras_file):
    keras_file.parts["config.json"] = b" " * (limits.MAX_SIZES["config.json"] + 1)
    assert refused(keras_file.write(zipfile.ZIP_DEFLATED), "the allowed 8388608")


def test_a_file_above_the_limit(keras_file):
    path = keras_file.write()
    with open(path, "r+b") as file:
        file.truncate(limits.MAX_FILE_SIZE + 1)  # Takes no room on disk.
    assert refused(path, "more than")


def change_directory(path, name, offset, value):
    """Overwrites 4 bytes of a member's entry in the table of contents."""
    content = bytearray(path.read_bytes())
    start = content.rindex(b"PK\x01\x02", 0, content.rindex(name.encode()))
    content[start + offset : start + offset + 4] = struct.pack("<I", value)
    path.write_bytes(content)
    return path


# Offsets of the checksum, of the size in the file, of the size, of the place.
@pytest.mark.parametrize(
    ("compression", "offset", "value"),
    [
        (zipfile.ZIP_DEFLATED, 16, 1),
        (zipfile.ZIP_DEFLATED, 24, 10),
        (zipfile.ZIP_DEFLATED, 24, 2**25),
        (zipfile.ZIP_DEFLATED, 20, 10),
        (zipfile.ZIP_DEFLATED, 20, 2**30),
        (zipfile.ZIP_STORED, 24, 10),
        (zipfile.ZIP_STORED, 24, 2**31),
        (zipfile.ZIP_STORED, 20, 2**31),
        (zipfile.ZIP_STORED, 42, 0),
        (zipfile.ZIP_STORED, 42, 2**31),
    ],
)
def test_a_table_of_contents_that_lies(compression, offset, value, keras_file):
    path = keras_file.write(compression)
    assert refused(change_directory(path, WEIGHTS, offset, value), "model.keras")


def test_members_that_share_bytes(keras_file, tmp_path):
    """The weights lie inside the metadata, which is how bombs overlap."""
    inner = tmp_path / "inner.zip"
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr(WEIGHTS, keras_file.parts.pop(WEIGHTS))
        [info] = archive.infolist()
        end = archive.fp.tell()
    keras_file.parts["metadata.json"] = inner.read_bytes()[:end]
    path = keras_file.write()
    info.header_offset = path.read_bytes().index(inner.read_bytes()[:30])
    with zipfile.ZipFile(path, "a") as archive:
        archive.filelist.append(info)
        archive.NameToInfo[WEIGHTS] = info
        archive._didModify = True  # To write the table of contents again.
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
    assert refused(path, "overlaps another part")


def test_more_is_not_decompressed_than_is_declared(keras_file):
    """A bomb that says it is small: 64 MB of zeros as a config of 1 kB."""
    with zipfile.ZipFile(keras_file.path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in (WEIGHTS, "metadata.json"):
            archive.writestr(name, keras_file.parts[name])
        with archive.open("config.json", "w") as member:
            for _ in range(64):
                member.write(bytes(2**20))
    change_directory(keras_file.path, "config.json", 24, 1000)
    assert refused(keras_file.path, "Bad CRC-32")


@pytest.mark.parametrize("content", [b"", b"PK", b"not an archive" * 100])
def test_no_archive(content, keras_file):
    keras_file.path.write_bytes(content)
    assert refused(keras_file.path, "is corrupt or incomplete")


def test_a_key_that_is_there_twice(keras_file):
    config = keras_file.parts["config.json"]
    twice = config.replace(
        b'"class_name": "Dense"',
        b'"class_name": "Lambda", ' * 1 + b'"class_name": "Dense"',
    )
    assert twice != config
    keras_file.parts["config.json"] = twice
    assert refused(keras_file.write(), "has the key 'class_name' twice")


@pytest.mark.parametrize("levels", [65, 500, 100_000])
def test_gigantic_depth(levels, keras_file):
    keras_file.parts["config.json"] = b"[" * levels + b"]" * levels
    assert refused(keras_file.write(), "nested")


@pytest.mark.parametrize("content", [b"{", b"", b"\xff\xfe{", b"{'a': 1}", b"1" * 5000])
def test_no_json(content):
    with pytest.raises(UnsafeModelError, match="is not JSON"):
        parse_config(content)


def test_memory_of_the_largest_config(keras_file):
    content = b"[" + b"[]," * 100_000 + b"[]]"
    keras_file.parts["config.json"] = content
    path = keras_file.write(zipfile.ZIP_DEFLATED)
    tracemalloc.start()
    inspect_keras_file(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40 * len(content)
