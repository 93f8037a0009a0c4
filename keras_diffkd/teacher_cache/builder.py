"""Runs a teacher on all fixed views and stores what it computes."""

import os
import shutil
from pathlib import Path

import numpy as np

from keras_diffkd.atomic_files import sync
from keras_diffkd.folder_lock import FILE_NAME as LOCK
from keras_diffkd.folder_lock import locked
from keras_diffkd.full_disk import is_full_disk
from keras_diffkd.teacher_cache import manifest as manifests
from keras_diffkd.teacher_cache.cache import TeacherCache
from keras_diffkd.teacher_cache.outputs import TeacherOutputs
from keras_diffkd.teacher_cache.records import MAX_VIEWS, RecordLayout
from keras_diffkd.teacher_cache.shards import shard_bytes, write_shard
from keras_diffkd.teacher_cache.stored_teacher import stored_teacher

# A shard that is interrupted is computed again.
_SHARD_BYTES = 2**26
_SHARD_VIEWS = 2**16


class CacheBuilder:
    """Builds a `TeacherCache`, or resumes a build that was interrupted.

    The constructor checks everything and writes nothing. The teacher runs on batches
    of the size of a training step, so that it computes what it would compute there.

    Args:
        folder: Folder of the cache, which is created. It may hold an unfinished build
            of the same cache.
        teacher: A built classifier or segmenter, `keras.Model`, that gives logits.
        views: `FixedViews`, the attribute `views` of a data set that was loaded with
            `views=...`.
        taps: Taps of the teacher whose features are stored, with the shape that they
            have, channels last.
        pooled: Taps whose features are stored as means over all positions.
        dtype: `"float16"` or `"float32"`, of all that is stored.
        top_k: Integer: store this many logits of each view and spread the rest evenly.
            Defaults to all.
        max_bytes: Integer, the largest size of the cache. Defaults to no limit.
        preprocess: Optional callable on the batch of images in front of the teacher.

    Attributes:
        num_bytes: Integer, the size of the whole cache on the disk, rounded up.
        bytes_per_view: Integer, the size of a record.

    Raises:
        ValueError: If the teacher or a tap cannot be stored, the cache would be larger
            than `max_bytes`, or the folder holds something else.
        OSError: If the disk does not have enough space.

    Example:

    >>> from keras_diffkd.datasets import load_classification
    >>> from keras_diffkd.models import build_model
    >>> import tempfile
    >>> data = load_classification(
    ...     "digits", data_dir="/tmp/data", batch_size=64, views=2)
    >>> teacher = build_model("digits_teacher", (8, 8, 1), 10)
    >>> builder = CacheBuilder(tempfile.mkdtemp() + "/cache", teacher, data.views)
    >>> builder.bytes_per_view
    24
    >>> cache = builder.build()
    >>> cache.read([0, 2703])[None].shape
    (2, 10)
    """

    def __init__(
        self,
        folder,
        teacher,
        views,
        *,
        taps=(),
        pooled=(),
        dtype="float16",
        top_k=None,
        max_bytes=None,
        preprocess=None,
    ):
        self.folder = Path(folder)
        self._views = views
        self._outputs = TeacherOutputs(teacher, taps, pooled, preprocess)
        contents = {
            "classes": self._outputs.classes,
            "positions": self._outputs.positions,
            "dtype": dtype,
            "top_k": top_k,
            "features": {tap: list(s) for tap, s in self._outputs.features.items()},
            "pooled": list(pooled),
            "kinds": self._outputs.kinds,
        }
        self._layout = RecordLayout.of(contents)
        self.bytes_per_view = self._layout.dtype.itemsize
        if len(views) > MAX_VIEWS:
            raise ValueError(
                f"A cache can hold {MAX_VIEWS} views. Received: {views.num_images} "
                f"images with {views.per_image} views each. Use fewer views."
            )
        self._per_shard = _views_per_shard(self.bytes_per_view, views.batch_size)
        self.num_bytes = sum(self._shard_sizes())
        if max_bytes is not None and self.num_bytes > max_bytes:
            raise ValueError(
                f"The teacher cache {folder} would take {self.describe_size()}, more "
                f"than the limit of {max_bytes:,} bytes. Raise the limit, or store "
                "less: fewer views, pooled features, fewer taps, `top_k` or float16."
            )
        self._manifest = {
            "format": manifests.FORMAT,
            **manifests.describe(teacher, preprocess, views, contents),
            "views_per_shard": self._per_shard,
            "shards": [],
        }
        self._adopt_unfinished()
        self._check_space()

    def describe_size(self):
        """Returns the size of the cache as text, with its factors."""
        return (
            f"{self._views.num_images:,} images x {self._views.per_image} views x "
            f"{self.bytes_per_view:,} bytes, {self.num_bytes:,} bytes on the disk"
        )

    def teacher(self, methods, head_of=None):
        """Returns the model that `TeacherCache.teacher` will return."""
        return stored_teacher(self._manifest["contents"], methods, head_of, self.folder)

    def build(self, progress=None):
        """Computes and writes what is missing.

        Args:
            progress: Optional callable `(done, total)` that is told the number of
                views, after each batch.

        Returns:
            The `TeacherCache`.

        Raises:
            OSError: If the disk is full. What is finished stays for the next build.
            ValueError: If an output is not finite, or another process builds here.
        """
        with locked(self.folder / LOCK, f"builds the teacher cache {self.folder}"):
            self._adopt_unfinished()
            manifests.write_manifest(self.folder, self._manifest)
            first, total = manifests.count_views(self._manifest)
            if first < total:
                self._write_shards(self._records(first, progress))
            sync(self.folder)
        return TeacherCache(self.folder)

    def _write_shards(self, records):
        shards = self._manifest["shards"]
        count = len(self._shard_sizes())
        for index in range(len(shards), count):
            name = f"outputs-{index:05}-of-{count:05}.array_record"
            try:
                views, digest = write_shard(
                    self.folder / name, _take(records, self._per_shard)
                )
                shards.append({"file": name, "views": views, "sha256": digest})
                manifests.write_manifest(self.folder, self._manifest)
            except OSError as error:
                raise self._no_space(error) from error

    def _records(self, first, progress):
        """Yields the records of all views from number `first` on."""
        size, total = self._views.batch_size, len(self._views)
        for numbers, images, _ in self._views.in_order(first).as_numpy_iterator():
            count = len(numbers)
            # A smaller batch would be another program, with other rounding errors.
            images = np.resize(images, (size, *images.shape[1:]))
            outputs = self._outputs(images)
            outputs = {tap: array[:count] for tap, array in outputs.items()}
            yield from self._layout.encode(numbers, outputs)
            if progress is not None:
                progress(int(numbers[-1]) + 1, total)

    def _shard_sizes(self):
        """Returns the size in bytes of each shard, rounded up."""
        total = len(self._views)
        counts = [
            min(self._per_shard, total - first)
            for first in range(0, total, self._per_shard)
        ]
        return [shard_bytes(self.bytes_per_view, count) for count in counts]

    def _adopt_unfinished(self):
        """Takes over the finished shards of an interrupted build.

        Raises:
            ValueError: If the folder holds something else.
        """
        # The lock, and what a killed process wrote aside.
        names = os.listdir(self.folder) if self.folder.exists() else []
        if all(name.startswith(".") for name in names):
            return
        if not (self.folder / manifests.FILE_NAME).exists():
            raise ValueError(
                f"{self.folder} is not empty and is not a teacher cache. Give a new "
                "folder."
            )
        found = manifests.read_manifest(self.folder)
        parts = ("teacher", "data", "contents")
        manifests.check_same(
            self.folder, found, {part: self._manifest[part] for part in parts}
        )
        # Another batch size makes other shards.
        self._per_shard = found["views_per_shard"]
        self._manifest = found

    def _missing_bytes(self):
        """Returns the size of the shards that are not finished, rounded up."""
        return sum(self._shard_sizes()[len(self._manifest["shards"]) :])

    def _check_space(self):
        needed = self._missing_bytes()
        place = self.folder.absolute()
        while not place.exists():
            place = place.parent
        free = shutil.disk_usage(place).free
        if needed > free:
            raise OSError(
                f"The teacher cache {self.folder} needs {needed:,} more bytes, and the "
                f"disk has {free:,} left. Free some space, give another folder, or "
                "store less. Nothing was written."
            )

    def _no_space(self, error):
        cause = "the disk is full" if is_full_disk(error) else str(error)
        return OSError(
            f"The teacher cache {self.folder} could not be finished: {cause}. It needs "
            f"{self._missing_bytes():,} more bytes. What is finished stays: free some "
            "space and build it again."
        )


def _views_per_shard(record_bytes, batch_size):
    """Returns a number of whole batches, of about 64 MiB or 65,536 views."""
    views = min(_SHARD_VIEWS, _SHARD_BYTES // record_bytes)
    return max(1, views // batch_size) * batch_size


def _take(records, count):
    """Yields the next `count` records, or those that are left."""
    for _, record in zip(range(count), records, strict=False):
        yield record
