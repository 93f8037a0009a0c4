"""Writes shards of records, and reads records at random."""

import contextlib
import threading
from pathlib import Path

import numpy as np
from array_record.python.array_record_module import (
    ArrayRecordReader,
    ArrayRecordWriter,
)

from keras_diffkd.atomic_files import written_aside
from keras_diffkd.file_hashes import hash_file

# Bytes that are read for one record: small records are stored in groups.
_GROUP_BYTES = 8192
# For a random record, reading ahead is in vain.
_RANDOM_ACCESS = "readahead_buffer_size:0,max_parallelism:0"


def group_size(record_bytes):
    """Returns how many records are stored together."""
    return max(1, min(64, _GROUP_BYTES // record_bytes))


def shard_bytes(record_bytes, count):
    """Returns the size of a file of records, rounded up."""
    per_record = record_bytes + 8 + 80 / group_size(record_bytes)
    # The file ends with an index, in blocks of 64 KiB.
    return int(per_record * count) + 2**17


def write_shard(path, records):
    """Writes a file of records, which is complete or absent.

    Args:
        path: `Path`.
        records: Iterable of `bytes`, all of the same length.

    Returns:
        `(count, sha256)`: the number of records, and the checksum of the file.

    Raises:
        OSError: If the disk is full.
    """
    count, writer = 0, None
    with written_aside(path) as aside:
        for record in records:
            with _errors_of_the_disk(path):
                if writer is None:
                    options = f"group_size:{group_size(len(record))},uncompressed"
                    writer = ArrayRecordWriter(str(aside), options)
                writer.write(record)
            count += 1
        with _errors_of_the_disk(path):
            writer.close()
        digest = hash_file(aside)
    return count, digest


@contextlib.contextmanager
def _errors_of_the_disk(path):
    """Turns errors of ArrayRecord, which are `RuntimeError`s, into `OSError`s."""
    try:
        yield
    except RuntimeError as error:
        raise OSError(f"{path} cannot be written: {error}") from error


class ShardReader:
    """Reads the records of views by their numbers.

    Args:
        folder: `Path` of the files.
        names: List of their names, in the order of the numbers.
        per_shard: Integer, the number of records in each file but the last.
    """

    def __init__(self, folder, names, per_shard):
        self._paths = [Path(folder) / name for name in names]
        self._per_shard = per_shard
        self._readers = {}
        # `tf.data` reads in several threads.
        self._lock = threading.Lock()

    def read(self, numbers):
        """Returns the records with these numbers, as a list of `bytes`."""
        shards, inside = np.divmod(np.asarray(numbers, "int64"), self._per_shard)
        records = [None] * len(shards)
        with self._lock:
            for shard in np.unique(shards):
                places = np.flatnonzero(shards == shard)
                found = self._reader(int(shard)).read(inside[places].tolist())
                for place, record in zip(places, found, strict=True):
                    records[place] = record
        return records

    def _reader(self, shard):
        if shard not in self._readers:
            path = str(self._paths[shard])
            self._readers[shard] = ArrayRecordReader(path, _RANDOM_ACCESS)
        return self._readers[shard]
