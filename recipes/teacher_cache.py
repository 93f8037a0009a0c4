"""Builds or opens the teacher cache that the flags name."""

import dataclasses
import time

from absl import flags as absl_flags

from keras_diffkd.features.pairs import taps_of
from keras_diffkd.teacher_cache import CacheBuilder, TeacherCache, verify
from keras_diffkd.teacher_cache.manifest import is_finished

from . import cluster, flags

# Views of each image, if the flags do not say.
DEFAULT_VIEWS = 4
# Seconds between two lines about a build.
PROGRESS_SECONDS = 10

CACHE_TAPS = absl_flags.DEFINE_list(
    "cache_taps",
    [],
    "Layers of the teacher to store besides those that --method reads, separated by "
    "commas.",
)
CACHE_POOLED = absl_flags.DEFINE_list(
    "cache_pooled",
    [],
    "Layers of the teacher to store as means over positions, which is all that vkd "
    "reads, separated by commas.",
)
CACHE_DTYPE = absl_flags.DEFINE_enum(
    "cache_dtype",
    None,
    ["float16", "float32"],
    "Precision of what is stored; unset: float16, or that of an existing cache.",
)
CACHE_TOP_K = absl_flags.DEFINE_integer(
    "cache_top_k",
    None,
    "Store this many logits of each view and spread the rest evenly; unset: all, or as "
    "in an existing cache.",
    lower_bound=1,
)
CACHE_MAX_BYTES = absl_flags.DEFINE_integer(
    "cache_max_bytes",
    None,
    "Build no cache that is larger than this; unset: any that fits on the disk.",
    lower_bound=1,
)
VERIFY_CACHE = absl_flags.DEFINE_integer(
    "verify_cache",
    16,
    "Run the teacher again on this many training images, print how its outputs differ "
    "from the stored ones, and end if they are of something else; 0: do not.",
    lower_bound=0,
)


def prepare_flags(seeds=1):
    """Checks the flags about a cache, and sets the number of views.

    Args:
        seeds: int, the number of trainings with different seeds.

    Raises:
        ValueError: if a cache cannot be used with the other flags.
    """
    if flags.CACHE_VIEWS.value is None and flags.TEACHER_CACHE.value:
        flags.FLAGS["cache_views"].value = DEFAULT_VIEWS
    if flags.CACHE_VIEWS.value is None:
        return
    if flags.TASK.value == "detection":
        raise ValueError(
            "--teacher_cache and --cache_views work for --task=classification and "
            "--task=segmentation. Received: --task=detection, whose methods read whole "
            "feature pyramids: 2.8 MB for each view at 512x512, more than the image. "
            "Leave them out"
        )
    if not flags.TEACHER_CACHE.value:
        return
    if flags.PICTURE_EVERY.value:
        raise ValueError(
            "--picture_every runs the teacher on test images, which a teacher cache "
            f"does not hold. Received: --picture_every={flags.PICTURE_EVERY.value}. "
            "Leave it or --teacher_cache out"
        )
    if flags.EXAMPLES_PER_CLASS.value and seeds > 1:
        raise ValueError(
            "--examples_per_class draws other images for each seed, and a teacher "
            f"cache holds those of one. Received: --seeds={seeds}. Run each seed with "
            "a --teacher_cache of its own, or use a slice of --train_split"
        )


def is_built():
    """Returns whether the cache that the flags name is finished."""
    return is_finished(flags.TEACHER_CACHE.value)


def open_or_build(teacher, data, methods):
    """Returns the `TeacherCache` that the flags name, and builds it if it is missing.

    Args:
        teacher: `keras.Model`.
        data: `ClassificationData`.
        methods: list of distillation methods, whose taps are stored.

    Raises:
        ValueError: if the cache is damaged, or was built for something else.
    """
    folder = flags.TEACHER_CACHE.value
    if is_built():
        cache = TeacherCache(folder)
        _check_contents(cache)
        cache.teacher(methods, head_of=teacher)
    else:
        cache = _build(plan(teacher, data, methods))
    if not VERIFY_CACHE.value:
        cache.check(teacher, data.views)
        return cache
    # It checks the cache, too.
    found = verify(cache, teacher, data.views, VERIFY_CACHE.value)
    if cluster.is_chief():
        print(f"teacher cache {folder}: {found}")
    return cache


def with_stored_outputs(data, cache, distiller):
    """Returns a data set whose training batches have the teacher's stored outputs.

    Args:
        data: `ClassificationData`.
        cache: `TeacherCache`, or `None` for unchanged data.
        distiller: `Distiller` with the teacher of the cache.
    """
    if cache is None:
        return data
    return dataclasses.replace(data, train=cache.batches(data.views, distiller))


def cache_fingerprint(cache):
    """Returns the cache's part of the fingerprint of a training, as a dict."""
    if cache is None:
        return {}
    parts = ("teacher", "contents")
    return {"teacher_cache": {name: cache.manifest[name] for name in parts}}


def plan(teacher, data, methods):
    """Returns the `CacheBuilder` of the cache that the flags describe.

    Args:
        teacher: `keras.Model`.
        data: `ClassificationData`.
        methods: list of distillation methods, whose taps are stored.

    Raises:
        ValueError: if the cache cannot be built, or the methods cannot read it.
    """
    folder = flags.TEACHER_CACHE.value
    if cluster.shard() is not None:
        raise ValueError(
            f"The teacher cache {folder} is not built. Received: "
            "--strategy=multi_worker. Run diffkd-cache-teacher with the same flags on "
            "one machine first, in a folder that all workers can read"
        )
    pooled = CACHE_POOLED.value
    taps = [tap for tap in [*taps_of(methods, "teacher"), *CACHE_TAPS.value] if tap]
    builder = CacheBuilder(
        folder,
        teacher,
        data.views,
        taps=[tap for tap in dict.fromkeys(taps) if tap not in pooled],
        pooled=pooled,
        dtype=CACHE_DTYPE.value or "float16",
        top_k=CACHE_TOP_K.value,
        max_bytes=CACHE_MAX_BYTES.value,
    )
    builder.teacher(methods, head_of=teacher)
    return builder


def _build(builder):
    print(f"teacher cache {builder.folder}: {builder.describe_size()}", flush=True)
    started = time.monotonic()
    cache = builder.build(Progress(builder.folder))
    seconds = time.monotonic() - started
    print(f"teacher cache {builder.folder}: built in {seconds:.0f} s")
    return cache


def _check_contents(cache):
    contents = cache.manifest["contents"]
    for flag, name in ((CACHE_DTYPE, "dtype"), (CACHE_TOP_K, "top_k")):
        if flag.value is not None and flag.value != contents[name]:
            raise ValueError(
                f"The teacher cache {cache.folder} was built with --{flag.name}="
                f"{contents[name]}. Received: --{flag.name}={flag.value}. Leave the "
                "flag out, or give another folder"
            )


class Progress:
    """Prints how much of a cache is built, and how long the rest takes.

    Args:
        folder: the folder of the cache.
        clock: callable that returns seconds.
    """

    def __init__(self, folder, clock=time.monotonic):
        self.folder = folder
        self.clock = clock
        self._first = self._last = None

    def __call__(self, done, total):
        """Takes the number of views that are done, and of all."""
        now = self.clock()
        if self._first is None:
            # The first batch includes the compilation.
            self._first = self._last = (now, done)
        if now - self._last[0] < PROGRESS_SECONDS:
            return
        self._last = (now, done)
        started, before = self._first
        left = (now - started) * (total - done) / (done - before)
        print(
            f"teacher cache {self.folder}: {done:,} of {total:,} views, "
            f"{left:.0f} s left",
            flush=True,
        )
