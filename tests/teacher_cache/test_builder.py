import os
import shutil

import keras
import numpy as np
import pytest
from helpers.digit_networks import network

from keras_diffkd.features.taps import call_with_taps
from keras_diffkd.folder_lock import FILE_NAME as LOCK
from keras_diffkd.folder_lock import locked
from keras_diffkd.teacher_cache import CacheBuilder, TeacherCache, builder, shards


@pytest.fixture(autouse=True)
def several_shards(monkeypatch):
    monkeypatch.setattr(builder, "_SHARD_VIEWS", 512)


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_holds_what_the_teacher_computes_on_each_view(build, load, teacher):
    views = load(views=2).views
    cache = build(views=views, taps=["features"], pooled=["logits"], dtype="float32")
    assert len(cache) == 2704
    assert len(cache.manifest["shards"]) == 6
    numbers, images, _ = next(views.in_order(1300).as_numpy_iterator())
    logits, features = call_with_taps(teacher, images, ["features"], training=False)
    stored = cache.read(numbers)
    for ours, theirs in (
        (stored[None], logits),
        (stored["logits"], logits),
        (stored["features"], features["features"]),
    ):
        ours, theirs = np.asarray(ours), keras.ops.convert_to_numpy(theirs)
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    # In any order, and from several shards.
    mixed = np.array([1363, 5, 1300, 2703])
    again = cache.read(mixed)[None]
    np.testing.assert_array_equal(again[[2, 0]], stored[None][[0, 63]])


def test_channels_come_last_and_means_are_means(build, load):
    views = load(train_split="train[:10]").views
    image = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(3, 3, name="first")(image)
    x = keras.layers.Permute((3, 1, 2), name="moved")(x)
    teacher = keras.Model(image, keras.layers.Dense(10)(keras.layers.Flatten()(x)))
    whole = build(
        views=views, teacher=teacher, taps=["first", "moved"], dtype="float32"
    )
    means = build(
        "means", views=views, teacher=teacher, pooled=["moved"], dtype="float32"
    )
    stored = whole.read([3, 4])
    assert stored["first"].shape == stored["moved"].shape == (2, 6, 6, 3)
    np.testing.assert_array_equal(stored["first"], stored["moved"])
    np.testing.assert_allclose(
        means.read([3, 4])["moved"], stored["first"].mean((1, 2)), rtol=1e-4, atol=1e-6
    )


def test_an_interrupted_build_resumes(build, tmp_path):
    seen = []

    def interrupt(done, total):
        seen.append((done, total))
        if done > 700:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build("part", progress=interrupt)
    with pytest.raises(ValueError, match="not finished. Received: 512 of 1352 views"):
        TeacherCache(tmp_path / "part")
    first = content(tmp_path / "part")
    seen.clear()
    build("part", progress=lambda done, total: seen.append((done, total)))
    assert seen[0] == (576, 1352)
    assert seen[-1] == (1352, 1352)
    build("whole")
    whole = content(tmp_path / "whole")
    assert content(tmp_path / "part") == whole
    assert "outputs-00000-of-00003.array_record" in first.keys() & whole.keys()
    # Nothing is left to do.
    seen.clear()
    build("part", progress=lambda done, total: seen.append((done, total)))
    assert seen == []


def test_the_size_is_said_before_anything_is_written(tmp_path, load, teacher):
    def plan(**options):
        return CacheBuilder(tmp_path / "cache", teacher, load().views, **options)

    planned = plan(taps=["features"])
    assert planned.bytes_per_view == 4 + 2 * (10 + 4 * 4 * 8)
    assert "1,352 images x 1 views x 280 bytes" in planned.describe_size()
    with pytest.raises(ValueError, match="more than the limit of 100,000 bytes"):
        plan(taps=["features"], max_bytes=100_000)
    assert not list(tmp_path.iterdir())
    planned.build()
    size = sum(path.stat().st_size for path in tmp_path.glob("cache/*.array_record"))
    assert 0.4 * planned.num_bytes < size <= planned.num_bytes


def test_too_little_space(tmp_path, load, teacher, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(OSError, match="the disk has 1,000 left. Free some space"):
        CacheBuilder(tmp_path / "new" / "cache", teacher, load().views)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_loses_nothing(build, tmp_path, monkeypatch):
    class Writer(shards.ArrayRecordWriter):
        written = 0

        def write(self, record):
            Writer.written += 1
            if Writer.written > 600:
                raise RuntimeError("write() failed: No space left on device; ...")
            super().write(record)

    monkeypatch.setattr(shards, "ArrayRecordWriter", Writer)
    with pytest.raises(OSError, match="the disk is full. It needs .* more bytes"):
        build()
    names = {path.name for path in (tmp_path / "cache").iterdir()}
    assert names == {"manifest.json", "outputs-00000-of-00003.array_record"}
    monkeypatch.undo()
    monkeypatch.setattr(builder, "_SHARD_VIEWS", 512)
    assert len(build()) == 1352


def test_one_process_at_a_time(build, tmp_path):
    refused = pytest.raises(ValueError, match="Another process builds")
    with locked(tmp_path / "cache" / LOCK, "builds the teacher cache"), refused:
        build()
    assert len(build()) == 1352


def test_a_folder_with_something_else(build, tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "photo.png").write_text("mine")
    with pytest.raises(ValueError, match="is not empty and is not a teacher cache"):
        build()
    assert os.listdir(tmp_path / "cache") == ["photo.png"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dtype": "float32"}, 'dtype: "float16" in the cache, now "float32"'),
        ({"top_k": 3}, "top_k: null in the cache, now 3"),
        ({"taps": ["features"]}, "features: {} in the cache"),
    ],
)
def test_resumes_only_the_same_build(built, load, teacher, change, message):
    with pytest.raises(ValueError, match=message):
        CacheBuilder(built.folder, teacher, load().views, **change)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"taps": ["featurez"]}, "featurez"),
        ({"taps": ["features"], "pooled": ["features"]}, "stored once"),
        ({"taps": [":logits"]}, "names or paths of layers"),
        ({"dtype": "int8"}, "`dtype` must be one of"),
    ],
)
def test_refuses_what_it_cannot_store(build, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        build(**options)
    assert not list(tmp_path.iterdir())


def test_refuses_a_teacher_of_probabilities(build):
    with pytest.raises(ValueError, match="must give logits.*softmax"):
        build(teacher=network(4, activation="softmax"))
