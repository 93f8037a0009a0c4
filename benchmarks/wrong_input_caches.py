"""Teacher caches that are damaged, or were built for something else."""

import functools
import json
import re
import shutil
import tempfile
from pathlib import Path

import keras
from wrong_input_models import Case, network, student, teacher

from keras_diffkd import DSKD, Distiller, FitNet, LogitsKD, VkD
from keras_diffkd.datasets import augmentation, load_classification
from keras_diffkd.models import with_dtype_policy
from keras_diffkd.teacher_cache import (
    CacheBuilder,
    TeacherCache,
    stored_outputs,
    verify,
)


@functools.cache
def scratch():
    """Returns a folder that is removed when the process ends."""
    return tempfile.TemporaryDirectory()


@functools.cache
def root():
    """Returns the folder with a cache that is right, in `right`, and its data set."""
    folder = Path(scratch().name)
    build(folder / "right", pooled=["features"])
    return folder


def views(**changes):
    """Returns the fixed views of 64 digits, or of what the changes say."""
    options = {"train_split": "train[:64]", "batch_size": 32, "views": 1, **changes}
    return load_classification(
        "digits", data_dir=f"{scratch().name}/data", **options
    ).views


def build(folder, model=None, **options):
    """Builds a cache of the teacher that is right by construction."""
    return CacheBuilder(folder, model or teacher(), views(), **options).build()


def cache_case(given, says, attempt, spoil=None):
    """Returns a `Case`: a copy of a right cache, what spoils it, and what uses it.

    Args:
        given: As in `Case`.
        says: As in `Case`.
        attempt: Callable that receives the folder and has to fail.
        spoil: Optional callable that changes the files in the folder.
    """

    def ours():
        folder = root() / "cache"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(root() / "right", folder)
        try:
            if spoil is not None:
                spoil(folder)
            attempt(folder)
        except (ValueError, TypeError, IndexError, OSError) as error:
            text = str(error).replace(str(folder), "CACHE")
            raise ValueError(re.sub(r"[0-9a-f]{12,}", "...", text)) from error

    return Case(given, says, ours, None)


def shard(folder):
    """Returns the only shard of a cache."""
    [path] = folder.glob("*.array_record")
    return path


def flip_a_bit(folder):
    """Changes one bit in the middle of the records."""
    data = bytearray(shard(folder).read_bytes())
    data[1000] ^= 1
    shard(folder).write_bytes(data)


def cut(folder):
    """Leaves only the first half of the records."""
    data = shard(folder).read_bytes()
    shard(folder).write_bytes(data[: len(data) // 2])


def change_manifest(folder, **changes):
    """Replaces parts of the manifest."""
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def elsewhere(folder):
    """Names a file outside the folder as a shard."""
    shards = [{"file": "../other", "views": 64, "sha256": "0"}]
    change_manifest(folder, shards=shards)


def only_a_file(folder):
    """Makes the folder one of something else."""
    for path in folder.iterdir():
        path.unlink()
    (folder / "photo.png").write_text("mine")


def with_changed_augmentation(folder):
    """Verifies a cache after somebody changed the augmentation's code."""
    before = augmentation.AUGMENTATIONS["crop"]
    augmentation.AUGMENTATIONS["crop"] = augmentation.none
    try:
        verify(TeacherCache(folder), teacher(), views(), 64)
    finally:
        augmentation.AUGMENTATIONS["crop"] = before


def distiller_of(folder, of_student=None):
    """Returns a compiled distiller with the stored teacher."""
    methods = [LogitsKD()]
    made = Distiller(
        TeacherCache(folder).teacher(methods),
        of_student or student(),
        methods,
        teacher_preprocess=stored_outputs,
    )
    made.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return made


def two_inputs():
    """Returns a student of two images."""
    images = [keras.Input((8, 8, 1)), keras.Input((8, 8, 1))]
    x = keras.layers.Flatten()(keras.layers.Concatenate()(images))
    return keras.Model(images, keras.layers.Dense(10)(x), name="student")


def half(model):
    """Returns a teacher under mixed_bfloat16."""
    return with_dtype_policy(model, "mixed_bfloat16")


def broken():
    """Returns a teacher with a weight that is not a number."""
    model = teacher()
    head = model.get_layer("logits")
    head.set_weights([head.kernel.numpy() * float("nan"), head.bias.numpy()])
    return model


def boxes_and_classes():
    """Returns a teacher with the outputs of a detector."""
    image = keras.Input((8, 8, 1))
    heads = {
        "boxes": keras.layers.Conv2D(4, 3)(image),
        "scores": keras.layers.Conv2D(10, 3)(image),
    }
    return keras.Model(image, heads, name="teacher")


def of_any_size():
    """Returns a segmenter that does not tell the size of its map."""
    image = keras.Input((None, None, 1))
    return keras.Model(image, keras.layers.Conv2D(10, 3)(image), name="teacher")


def data_case(given, says, **changes):
    """Returns the case of a cache that is used with other data."""
    return cache_case(
        given, says, lambda folder: TeacherCache(folder).check(views=views(**changes))
    )


def build_case(given, says, model=None, **options):
    """Returns the case of a cache that cannot be built."""
    return cache_case(
        given,
        says,
        lambda folder: build(folder, None if model is None else model(), **options),
        lambda folder: shutil.rmtree(folder),
    )


DAMAGED = [
    cache_case(
        "a bit of a shard is flipped", "its SHA-256 is", TeacherCache, flip_a_bit
    ),
    cache_case("a shard is cut off", "its SHA-256 is", TeacherCache, cut),
    cache_case(
        "a shard is missing",
        "lacks outputs-00000",
        TeacherCache,
        lambda folder: shard(folder).unlink(),
    ),
    cache_case(
        "the manifest is missing",
        "has no manifest.json",
        TeacherCache,
        lambda folder: (folder / "manifest.json").unlink(),
    ),
    cache_case(
        "the manifest is cut off",
        "manifest.json is damaged",
        TeacherCache,
        lambda folder: (folder / "manifest.json").write_text('{"format": '),
    ),
    cache_case(
        "the manifest has no checksums",
        "manifest.json is damaged",
        TeacherCache,
        lambda folder: change_manifest(folder, shards=[{"file": "a", "views": 64}]),
    ),
    cache_case(
        "the manifest names a file elsewhere",
        "not a file of the folder",
        TeacherCache,
        elsewhere,
    ),
    cache_case(
        "a cache of a later version",
        "must be a cache of the format",
        TeacherCache,
        lambda folder: change_manifest(folder, format="keras-diffkd teacher cache 9"),
    ),
    cache_case(
        "a build was interrupted",
        "is not finished",
        TeacherCache,
        lambda folder: change_manifest(folder, shards=[]),
    ),
    cache_case(
        "a folder of something else",
        "is not empty and is not a teacher cache",
        build,
        only_a_file,
    ),
]
OTHER = [
    cache_case(
        "another teacher",
        "weights .*in the cache, now",
        lambda folder: TeacherCache(folder).check(network(4)),
    ),
    cache_case(
        "the teacher in half precision",
        "teacher dtype",
        lambda folder: TeacherCache(folder).check(half(teacher())),
    ),
    cache_case(
        "other preprocessing of the teacher",
        "teacher preprocess",
        lambda folder: TeacherCache(folder).check(teacher(), preprocess=half),
    ),
    data_case("another augmentation", "data augmentation", augment="none"),
    data_case("other views", "data views: 1 in the cache, now 3", views=3),
    data_case("another seed of the views", "data view_seed", view_seed=7),
    data_case("another size of the images", "data image_shape", image_size=16),
    data_case("another split", "data split", train_split="train[:80]"),
    data_case("a subset of the images", "examples_per_class", examples_per_class=3),
    cache_case(
        "the augmentation's code has changed",
        "does not hold what this teacher computes",
        with_changed_augmentation,
    ),
    cache_case(
        "resuming a build with another precision",
        "contents dtype",
        lambda folder: build(folder, pooled=["features"], dtype="float32"),
    ),
]
USES = [
    cache_case(
        "a method reads a tap that is not stored",
        "does not hold the taps",
        lambda folder: TeacherCache(folder).teacher([FitNet("conv", "conv")]),
    ),
    cache_case(
        "a method runs the teacher's classifier",
        "Pass the teacher as `head_of`",
        lambda folder: TeacherCache(folder).teacher([DSKD("features", "features")]),
    ),
    cache_case(
        "it does so on a mean over positions",
        "needs the whole feature",
        lambda folder: TeacherCache(folder).teacher(
            [VkD("features", "features"), DSKD("features", "features")], teacher()
        ),
    ),
    cache_case(
        "batches without stored outputs",
        "Train on `cache.batches",
        lambda folder: distiller_of(folder).fit(
            views().train(), steps_per_epoch=1, verbose=0
        ),
    ),
    cache_case(
        "a student of two images",
        "must be functional or sequential and take one image",
        lambda folder: TeacherCache(folder).batches(
            views(), distiller_of(folder, two_inputs())
        ),
    ),
    cache_case(
        "a view that does not exist",
        "has views 0 to 63",
        lambda folder: TeacherCache(folder).read([64]),
    ),
]
BUILDS = [
    build_case("a tap that does not exist", "featurez", taps=["featurez"]),
    build_case(
        "a tap whole and as a mean",
        "stored once",
        taps=["features"],
        pooled=["features"],
    ),
    build_case(
        "a teacher of probabilities",
        "must give logits",
        lambda: network(4, activation="softmax"),
    ),
    build_case("a detector as teacher", "must have one output", boxes_and_classes),
    build_case("a segmenter of any size", "images of one size", of_any_size),
    build_case("a teacher with NaN", "logits must be finite", broken),
    build_case(
        "logits beyond half precision",
        "store float32",
        lambda: teacher(scale=0.02),
    ),
    build_case("top_k of all classes", "`top_k` must be an integer", top_k=10),
    build_case("an unknown precision", "`dtype` must be one of", dtype="int8"),
    build_case("a cache above the limit", "more than the limit", max_bytes=1000),
]
CACHES = [*DAMAGED, *OTHER, *USES, *BUILDS]
