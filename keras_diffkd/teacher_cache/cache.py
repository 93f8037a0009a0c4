"""Opens a cache, and gives a distiller what it needs to train from it."""

from pathlib import Path

import numpy as np

from keras_diffkd.datasets.stored_outputs import add_stored_outputs
from keras_diffkd.file_hashes import hash_file
from keras_diffkd.teacher_cache import manifest as manifests
from keras_diffkd.teacher_cache.records import RecordLayout
from keras_diffkd.teacher_cache.shards import ShardReader
from keras_diffkd.teacher_cache.stored_teacher import input_name, stored_teacher


class TeacherCache:
    """Holds what a teacher computed on fixed views of training images.

    Opening it compares the checksums of all files.

    Args:
        folder: Folder that `CacheBuilder` or `diffkd-cache-teacher` wrote.

    Attributes:
        folder: `Path`.
        manifest: Dict with everything that the outputs depend on.
        taps: List of the taps whose features are stored.

    Raises:
        FileNotFoundError: If the folder has no manifest or lacks a file.
        ValueError: If it is unfinished or damaged.

    Example:

    >>> from keras_diffkd.datasets import load_classification
    >>> from keras_diffkd.models import build_model
    >>> from keras_diffkd.teacher_cache import CacheBuilder, stored_outputs
    >>> import tempfile
    >>> data = load_classification(
    ...     "digits", data_dir="/tmp/data", batch_size=64, views=2)
    >>> teacher = build_model("digits_teacher", (8, 8, 1), 10)
    >>> folder = tempfile.mkdtemp() + "/cache"
    >>> _ = CacheBuilder(folder, teacher, data.views).build()
    >>> cache = TeacherCache(folder)
    >>> cache.check(teacher, data.views)
    >>> methods = [LogitsKD()]
    >>> distiller = Distiller(
    ...     cache.teacher(methods),
    ...     build_model("digits_student", (8, 8, 1), 10),
    ...     methods,
    ...     teacher_preprocess=stored_outputs,
    ... )
    >>> batches = cache.batches(data.views, distiller)
    >>> inputs, labels = next(iter(batches))
    >>> sorted(inputs)
    ['image', 'stored_logits']
    """

    def __init__(self, folder):
        self.folder = Path(folder)
        self.manifest = manifests.read_manifest(folder)
        contents, shards = self.manifest["contents"], self.manifest["shards"]
        self.taps = list(contents["features"])
        self._layout = RecordLayout.of(contents)
        self._check_complete(shards)
        self._reader = ShardReader(
            self.folder,
            [shard["file"] for shard in shards],
            self.manifest["views_per_shard"],
        )

    def __len__(self):
        """Returns the number of views."""
        done, _ = manifests.count_views(self.manifest)
        return done

    def _check_complete(self, shards):
        done, total = manifests.count_views(self.manifest)
        if done != total:
            raise ValueError(
                f"The teacher cache {self.folder} is not finished. Received: {done} of "
                f"{total} views. Run the same build again: it resumes."
            )
        for shard in shards:
            path = self.folder / shard["file"]
            if not path.exists():
                raise FileNotFoundError(
                    f"The teacher cache {self.folder} lacks {path.name}. Copy the file "
                    "again from where the cache was built, or build it again in "
                    "another folder."
                )
            found = hash_file(path)
            if found != shard["sha256"]:
                raise ValueError(
                    f"{path} is damaged: its SHA-256 is {found}, and the manifest says "
                    f"{shard['sha256']}. Copy the file again from where the cache was "
                    "built, or build the cache again in another folder."
                )

    def check(self, teacher=None, views=None, preprocess=None):
        """Checks that the cache is that of a teacher and of views.

        Args:
            teacher: The teacher, a `keras.Model`, or `None` to leave it out.
            views: `FixedViews`, or `None` to leave them out.
            preprocess: As for `CacheBuilder`, with a teacher.

        Raises:
            ValueError: Names everything that differs.
        """
        wanted = {}
        if teacher is not None:
            wanted["teacher"] = manifests.describe_teacher(teacher, preprocess)
        if views is not None:
            wanted["data"] = views.description
        manifests.check_same(self.folder, self.manifest, wanted)

    def teacher(self, methods, head_of=None):
        """Returns a small model that stands for the teacher.

        Its layers have the names of the taps, and give what is stored.

        Args:
            methods: List of distillation methods.
            head_of: The teacher, for methods that run its classifier (DSKD).

        Returns:
            A `keras.Model` for a `Distiller` with `teacher_preprocess=stored_outputs`.

        Raises:
            ValueError: If the methods read what is not stored.
        """
        return stored_teacher(self.manifest["contents"], methods, head_of, self.folder)

    def read(self, numbers, taps=None):
        """Returns a dict from `None` (the logits) and each tap to a float32 array.

        Args:
            numbers: Integers, the numbers of the views.
            taps: Iterable of what to return. Defaults to all that is stored.

        Raises:
            IndexError: If a number is outside the views.
            ValueError: If a record is not that of its view.
        """
        numbers = np.asarray(numbers)
        if ((numbers < 0) | (numbers >= len(self))).any():
            raise IndexError(
                f"The teacher cache {self.folder} has views 0 to {len(self) - 1}. "
                f"Received: {numbers.min()} to {numbers.max()}."
            )
        try:
            return self._layout.decode(self._reader.read(numbers), numbers, taps)
        except ValueError as error:
            raise ValueError(
                f"The teacher cache {self.folder} is damaged. {error} Build it again "
                "in another folder."
            ) from error

    def as_stored(self, numbers, outputs):
        """Returns outputs of the teacher as `read` would return them.

        Args:
            numbers: Integers, the numbers of the views.
            outputs: Dict from `None` (the logits) and each tap to an array.
        """
        return self._layout.decode(self._layout.encode(numbers, outputs), numbers)

    def batches(self, views, distiller):
        """Returns the training batches with the stored outputs.

        Args:
            views: `FixedViews`.
            distiller: `Distiller` with the model from `teacher`.

        Returns:
            An infinite `tf.data.Dataset` of `(inputs, labels)`: `inputs` is a dict of
            the images, with the name of the student's input, and of stored outputs.

        Raises:
            ValueError: If the cache is not that of the views, or the student takes
                other inputs than one image.
        """
        self.check(views=views)
        taken = {tensor.name for tensor in distiller.teacher.inputs}
        taps = [tap for tap in self._layout.shapes if input_name(tap) in taken]
        return add_stored_outputs(
            views.numbered_train(),
            lambda numbers: self.read(numbers, taps).values(),
            {input_name(tap): self._layout.shapes[tap] for tap in taps},
            image_name(distiller.student),
        )


def image_name(student):
    """Returns the name that the entry of the images has in a batch for a student.

    Raises:
        ValueError: If the student takes other inputs than one image.
    """
    inputs = getattr(student, "inputs", None) or ()
    if len(inputs) != 1:
        raise ValueError(
            "With a teacher cache, the student must be functional or sequential and "
            f"take one image. Received: {student.name!r} with {len(inputs)} known "
            "inputs. Define it with one keras.Input."
        )
    [tensor] = inputs
    structure = getattr(student, "input", tensor)
    return next(iter(structure)) if isinstance(structure, dict) else tensor.name
