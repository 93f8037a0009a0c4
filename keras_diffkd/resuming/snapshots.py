"""Writes and reads snapshots, folders with the complete state of a training."""

import concurrent.futures
import dataclasses
import hashlib
import io
import json
import math
import re
import shutil
import warnings
from pathlib import Path

import ml_dtypes  # noqa: F401  Registers bfloat16 and its like with NumPy.
import numpy as np

from keras_diffkd.atomic_files import move_into_place, sync
from keras_diffkd.full_disk import named_if_full

FORMAT = 2
KEPT = 2
# A second snapshot of the same step, as at the end of an epoch, has a number appended.
_NAME = re.compile(r"step-(\d{9,})(?:-(\d+))?")
_TEMPORARY = ".partial-"
# Maps a folder to the write that is running there, in a thread of this process.
_WRITING = {}
_KERAS_BACKUP = ("training_metadata.json", "latest.weights.h5", "seeds.json")


class DamagedSnapshotError(Exception):
    """Raised if the files of a snapshot are damaged."""


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """Holds the state of a training at one step.

    Attributes:
        path: Path of the snapshot's folder.
        arrays: Dict from name to NumPy array.
        state: Dict that JSON can hold.
    """

    path: Path
    arrays: dict
    state: dict


class Snapshots:
    """Manages the snapshots of one training, in a folder of their own.

    A snapshot is a folder `step-000001234` with `variables.npz` (one flat array for
    each dtype) and `state.json` (the layout of these arrays, all other state, and the
    SHA-256 of both files). It is written under a temporary name and renamed when all of
    it is on the disk. The newest two snapshots are kept. A thread writes them while the
    training continues, because writing takes longer than reading the variables.

    Args:
        directory: Path of the folder, which need not exist.

    Example:

    >>> import tempfile
    >>> snapshots = Snapshots(tempfile.mkdtemp())
    >>> snapshots.write(12, {"kernel": np.ones((2, 3), "float32")}, {"epoch": 4})
    >>> snapshot = snapshots.newest()
    >>> snapshot.path.name, snapshot.arrays["kernel"].shape, snapshot.state
    ('step-000000012', (2, 3), {'epoch': 4})
    """

    def __init__(self, directory):
        self.directory = Path(directory)
        self._damaged = []
        self._thread = concurrent.futures.ThreadPoolExecutor(1)

    def paths(self):
        """Returns the folders of all snapshots, the oldest first, even damaged ones."""
        if self._key in _WRITING:
            concurrent.futures.wait([_WRITING[self._key]])
        return self._paths()

    @property
    def _key(self):
        return self.directory.absolute()

    def _paths(self):
        if not self.directory.is_dir():
            return []
        found = [
            path for path in self.directory.iterdir() if _NAME.fullmatch(path.name)
        ]
        return sorted(found, key=_order)

    def newest(self):
        """Reads the newest snapshot that is not damaged.

        Returns:
            `Snapshot`, or `None` if there are no snapshots.

        Warns:
            For each newer snapshot that is damaged, with the reason.

        Raises:
            ValueError: If all snapshots are damaged, if one has an unknown format, if
                the folder is a file, or if it holds a backup of another kind.
        """
        self.check_kind()
        self._damaged, reasons = [], []
        for path in reversed(self.paths()):
            try:
                snapshot = _read(path)
            except DamagedSnapshotError as error:
                self._damaged.append(path)
                reasons.append(f"{path}: {error}")
                continue
            for reason in reasons:
                warnings.warn(
                    f"A snapshot of the training is damaged and is ignored: {reason}. "
                    f"Resuming from {path} instead.",
                    stacklevel=3,
                )
            return snapshot
        if reasons:
            raise ValueError(
                f"All snapshots of this training are damaged: {'; '.join(reasons)}. "
                f"Restore one from a copy, or delete {self.directory} to start over."
            )
        return None

    def write(self, step, arrays, state):
        """Starts to write a snapshot and to remove all but the newest two.

        Args:
            step: Integer, the number of completed steps.
            arrays: Dict from name to NumPy array. The arrays may change afterwards.
            state: Dict that JSON can hold. It must not change afterwards.

        Raises:
            OSError: If the previous snapshot could not be written.
        """
        self.wait()
        packed, layout = _pack(arrays)
        _WRITING[self._key] = self._thread.submit(
            self._write, step, packed, layout, state
        )

    def wait(self):
        """Waits until the snapshot is written.

        Raises:
            OSError: If it could not be written.
        """
        if self._key in _WRITING:
            _WRITING.pop(self._key).result()

    def _write(self, step, packed, layout, state):
        content = io.BytesIO()
        np.savez(content, **packed)
        content = content.getvalue()
        path = self._free_path(step)
        with named_if_full(path, len(content)):
            try:
                self._write_files(path, content, layout, state)
            except OSError:
                self._remove_incomplete()
                raise
        intact = [other for other in self._paths() if other not in self._damaged]
        for other in (*self._damaged, *intact[:-KEPT]):
            self._remove(other)
        self._damaged = []

    def _write_files(self, path, content, layout, state):
        self.clean()
        temporary = self.directory / f"{_TEMPORARY}{path.name}"
        temporary.mkdir()
        (temporary / "variables.npz").write_bytes(content)
        (temporary / "state.json").write_text(
            _sealed(
                {
                    "format": FORMAT,
                    "variables_sha256": hashlib.sha256(content).hexdigest(),
                    "layout": layout,
                    "state": state,
                }
            )
        )
        move_into_place(temporary, path)

    def clean(self):
        """Creates the folder and removes snapshots that were not completed."""
        if not self.directory.exists():
            self.directory.mkdir(parents=True)
            sync(self.directory.parent)
        self._remove_incomplete()

    def _remove_incomplete(self):
        for path in self.directory.glob(f"{_TEMPORARY}*"):
            shutil.rmtree(path)

    def _free_path(self, step):
        name = f"step-{step:09d}"
        same = [path for path in self._paths() if _order(path)[0] == step]
        if same:
            name = f"{name}-{_order(same[-1])[1] + 1}"
        return self.directory / name

    def _remove(self, path):
        # Under its own name, a partly removed snapshot would look damaged.
        hidden = path.with_name(f"{_TEMPORARY}{path.name}")
        path.rename(hidden)
        shutil.rmtree(hidden)

    def check_kind(self):
        """Raises `ValueError` if this is a file or holds another kind of backup."""
        existing = next(
            path for path in (self._key, *self._key.parents) if path.exists()
        )
        if not existing.is_dir():
            raise ValueError(
                "The snapshots of a training need their own folder, which is created "
                f"if necessary. Received: {self.directory}, but {existing} is a file. "
                "Use another path."
            )
        for name in _KERAS_BACKUP:
            if (self.directory / name).exists():
                raise ValueError(
                    f"{self.directory} holds a backup of Keras's BackupAndRestore, as "
                    "earlier versions wrote it. This version cannot resume from it. "
                    f"Received: {name}, expected folders step-000000000. Finish the "
                    "training with the version that wrote it, or start over in another "
                    "folder."
                )


def _order(path):
    step, repeated = _NAME.fullmatch(path.name).groups()
    return int(step), int(repeated or 1)


def _pack(arrays):
    """Joins arrays by dtype, because many small ones take several times as long."""
    groups, layout = {}, []
    for name, array in arrays.items():
        groups.setdefault(array.dtype, []).append(array.ravel())
        layout.append((name, array.dtype, array.shape))
    packed = {}
    for dtype, parts in groups.items():
        joined = np.concatenate(parts)
        # NumPy's files support only its own dtypes, so bfloat16 is saved as bytes.
        packed[dtype.name] = joined.view("uint8") if dtype.kind == "V" else joined
    names = {dtype: dtype.name for dtype in groups}  # `dtype.name` is slow.
    return packed, [(name, names[dtype], shape) for name, dtype, shape in layout]


def _unpack(packed, layout):
    arrays, used = {}, dict.fromkeys(packed, 0)
    packed = {dtype: flat.view(np.dtype(dtype)) for dtype, flat in packed.items()}
    for name, dtype, shape in layout:
        begin, used[dtype] = used[dtype], used[dtype] + math.prod(shape)
        arrays[name] = packed[dtype][begin : used[dtype]].reshape(shape)
    return arrays


def _sealed(content):
    text = json.dumps(content, sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return f'{{"sha256": "{digest}", "content": {text}}}\n'


def _read(path):
    try:
        sealed = (path / "state.json").read_bytes()
        variables = (path / "variables.npz").read_bytes()
    except OSError as error:
        raise DamagedSnapshotError(f"a file cannot be read: {error}") from None
    try:
        content = json.loads(sealed)["content"]
        intact = _sealed(content).encode() == sealed
    except (ValueError, KeyError, TypeError, RecursionError):
        intact = False
    if not intact:
        raise DamagedSnapshotError("state.json does not match its checksum")
    if content["format"] != FORMAT:
        raise ValueError(
            f"{path} was written by another version of keras-diffkd. Received: format "
            f"{content['format']}, expected {FORMAT}. Resume with that version."
        )
    if hashlib.sha256(variables).hexdigest() != content["variables_sha256"]:
        raise DamagedSnapshotError("variables.npz does not match its checksum")
    with np.load(io.BytesIO(variables), allow_pickle=False) as file:
        arrays = _unpack(dict(file), content["layout"])
    return Snapshot(path, arrays, content["state"])
