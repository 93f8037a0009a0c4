import json
import shutil

import keras
import numpy as np
import pytest
from helpers.digit_networks import network

from keras_diffkd import AFD, DSKD, DiffKD, Distiller, FitNet, LogitsKD, VkD
from keras_diffkd.datasets import load_segmentation
from keras_diffkd.features.taps import call_with_taps
from keras_diffkd.teacher_cache import TeacherCache, stored_outputs
from keras_diffkd.teacher_cache.shards import ShardReader
from keras_diffkd.teacher_cache.stored_teacher import make_stored_teacher

FEW = {"train_split": "train[:320]"}
METHODS = {
    "outputs": lambda: [
        LogitsKD(),
        DiffKD("features", "features", latent_channels=8, num_inference_steps=1),
        AFD(["stem", "features"], ["stem", "features"]),
    ],
    "head": lambda: [DSKD("features", "features")],
}


def deeper(width):
    """A network with two maps, whose first is named like those of the zoo."""
    image = keras.Input((8, 8, 1), name="image")
    x = keras.layers.Conv2D(width, 3, padding="same", name="stem")(image)
    x = keras.layers.Conv2D(width, 3, strides=2, padding="same")(x)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.ReLU(name="features")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, keras.layers.Dense(10, name="logits")(x))


def train(distiller, batches, steps=4):
    loss = keras.losses.SparseCategoricalCrossentropy(
        from_logits=True,
        ignore_class=255,  # Around scenes, and no digit.
    )
    distiller.compile(keras.optimizers.SGD(0.02), loss, preflight=False)
    keras.utils.set_random_seed(3)
    logs = distiller.fit(
        batches, steps_per_epoch=steps, epochs=2, shuffle=False, verbose=0
    )
    student = distiller.strip()
    return [keras.ops.convert_to_numpy(w) for w in student.weights], logs.history


def distil(data, teacher, make_methods, cache=None, student=deeper, steps=4):
    keras.utils.set_random_seed(2)
    student, methods = student(4), make_methods()
    if cache is None:
        return train(Distiller(teacher, student, methods), data.train, steps)
    distiller = Distiller(
        cache.teacher(methods, head_of=teacher),
        student,
        methods,
        teacher_preprocess=stored_outputs,
    )
    return train(distiller, cache.batches(data.views, distiller), steps)


@pytest.fixture
def deep_teacher():
    keras.utils.set_random_seed(1)
    return deeper(8)


@pytest.mark.parametrize("name", METHODS)
def test_trains_as_with_the_teacher_itself(name, build, load, deep_teacher):
    """Bit for bit, from the end of the epoch of the first view on."""
    data = load(views=2, start_step=3, **FEW)
    cache = build(
        teacher=deep_teacher,
        views=data.views,
        taps=["stem", "features"],
        dtype="float32",
    )
    live, logs = distil(data, deep_teacher, METHODS[name])
    cached, of_cache = distil(data, deep_teacher, METHODS[name], cache)
    if keras.backend.backend() == "tensorflow":
        assert logs == of_cache
        for ours, theirs in zip(cached, live, strict=True):
            np.testing.assert_array_equal(ours, theirs)
    for ours, theirs in zip(cached, live, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5)


def segmenter(width):
    image = keras.Input((64, 64, 3), name="image")
    x = keras.layers.Conv2D(width, 3, 8, padding="same", name="features")(image)
    x = keras.layers.Conv2D(11, 1)(keras.layers.ReLU()(x))
    logits = keras.layers.UpSampling2D(8, interpolation="bilinear", name="logits")(x)
    return keras.Model(image, logits)


def test_a_segmenter_trains_as_with_the_teacher_itself(build, data_dir):
    data = load_segmentation(
        "digit_scenes/small",
        data_dir=data_dir,
        batch_size=8,
        views=2,
        train_split="train[:16]",
    )
    keras.utils.set_random_seed(1)
    teacher = segmenter(8)
    cache = build(teacher=teacher, views=data.views, taps=["features"], dtype="float32")
    assert len(cache) == 32
    assert cache.read([3, 30])[None].shape == (2, 64, 64, 11)

    def methods():
        return [LogitsKD(), FitNet("features", "features")]

    live, logs = distil(data, teacher, methods, student=segmenter, steps=2)
    cached, of_cache = distil(data, teacher, methods, cache, segmenter, steps=2)
    if keras.backend.backend() == "tensorflow":
        assert logs == of_cache
    for ours, theirs in zip(cached, live, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


def test_half_precision_and_means_change_little(build, load, deep_teacher):
    data = load(**FEW)
    cache = build(teacher=deep_teacher, views=data.views, pooled=["features"])

    def methods():
        return [LogitsKD(), VkD("features", "features")]

    live, _ = distil(data, deep_teacher, methods)
    cached, _ = distil(data, deep_teacher, methods, cache)
    for ours, theirs in zip(cached, live, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0.02, atol=1e-3)


def test_a_nested_teacher(build, load):
    backbone = keras.Model(*_backbone(), name="backbone")
    image = keras.Input((8, 8, 1))
    x = keras.layers.GlobalAveragePooling2D()(backbone(image))
    teacher = keras.Model(image, keras.layers.Dense(10)(x))
    data = load(**FEW)
    cache = build(teacher=teacher, views=data.views, taps=["backbone/a", "backbone/b"])

    def methods():
        return [VkD("backbone/a", "stem"), FitNet("backbone/b", "features"), LogitsKD()]

    weights, _ = distil(data, teacher, methods, cache)
    assert all(np.isfinite(weight).all() for weight in weights)


def test_the_policy_of_new_models_does_not_matter(build, load, teacher):
    views = load(**FEW).views
    plain = build(views=views, taps=["features"], dtype="float32")
    keras.config.set_dtype_policy("mixed_bfloat16")
    other = build("other", views=views, taps=["features"], dtype="float32")
    stored = plain.read([0, 300])
    for tap, array in other.read([0, 300]).items():
        np.testing.assert_array_equal(array, stored[tap])
    model = other.teacher([FitNet("features", "features")])
    outputs, features = call_with_taps(
        model,
        {"stored_tap_features": stored["features"], "stored_logits": stored[None]},
        ["features"],
    )
    for ours, theirs in (
        (outputs, stored[None]),
        (features["features"], stored["features"]),
    ):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(ours), theirs)


def test_tokens_stay_tokens(build, load):
    """A map of the student is compared with them, which needs their kind."""
    image = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(8, 2, 2)(image)
    x = keras.layers.Reshape((16, 8), name="tokens")(x)
    logits = keras.layers.Dense(10)(keras.layers.GlobalAveragePooling1D()(x))
    teacher, data = keras.Model(image, logits), load(**FEW)
    cache = build(teacher=teacher, views=data.views, taps=["tokens"], dtype="float32")
    assert cache.manifest["contents"]["kinds"] == {"tokens": "tokens"}

    def methods():
        return [FitNet("tokens", "features")]

    live, _ = distil(data, teacher, methods)
    cached, _ = distil(data, teacher, methods, cache)
    for ours, theirs in zip(cached, live, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


def _backbone():
    image = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(4, 3, padding="same", name="a")(image)
    return image, keras.layers.Conv2D(8, 3, 2, padding="same", name="b")(x)


def test_the_distiller_can_be_saved(built, load, tmp_path):
    cache, methods = built, [LogitsKD()]
    distiller = Distiller(
        cache.teacher(methods), network(4), methods, teacher_preprocess=stored_outputs
    )
    train(distiller, cache.batches(load().views, distiller), steps=1)
    distiller.save(tmp_path / "distiller.keras")
    loaded = keras.models.load_model(tmp_path / "distiller.keras")
    assert loaded.frozen_teacher.preprocess is stored_outputs


def test_a_worker_reads_the_records_of_its_images_alone(built, load, monkeypatch):
    methods, read, asked = [LogitsKD()], ShardReader.read, []
    distiller = Distiller(
        built.teacher(methods), network(4), methods, teacher_preprocess=stored_outputs
    )

    def recording(self, numbers):
        asked.append(numbers)
        return read(self, numbers)

    def of_worker(shard):
        asked.clear()
        batches = built.batches(load(shard=shard).views, distiller).take(9)
        stored = [inputs["stored_logits"] for inputs, _ in batches.as_numpy_iterator()]
        return np.stack(asked[:9]), np.stack(stored)

    monkeypatch.setattr(ShardReader, "read", recording)
    whole, logits = of_worker(None)
    for index in (0, 1):
        numbers, stored = of_worker((index, 2))
        np.testing.assert_array_equal(numbers, whole[:, index::2])
        np.testing.assert_array_equal(stored, logits[:, index::2])


def test_images_alone_are_refused_by_name(built, load):
    methods = [LogitsKD()]
    distiller = Distiller(
        built.teacher(methods), network(4), methods, teacher_preprocess=stored_outputs
    )
    with pytest.raises((TypeError, ValueError), match="cache.batches"):
        train(distiller, load().train)


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        ([DiffKD("features", "features")], r"does not hold the taps \['features'\]"),
        ([DSKD("part/features", "features")], r"the taps \['part/features'\]"),
    ],
)
def test_methods_that_read_more(built, methods, message):
    with pytest.raises(ValueError, match=message):
        built.teacher(methods)


def test_a_head_needs_the_teacher_and_the_whole_feature(build, load, teacher):
    cache = build(views=load(**FEW).views, pooled=["features"])
    methods = [DSKD("features", "features")]
    with pytest.raises(ValueError, match="Pass the teacher as `head_of`"):
        cache.teacher(methods)
    with pytest.raises(ValueError, match="needs the whole feature 'features'"):
        cache.teacher(methods, teacher)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"views": 2}, "data views: 1 in the cache, now 2"),
        ({"train_split": "train[:500]"}, "data split.*num_images: 1352"),
    ],
)
def test_other_data_is_named(built, load, options, message):
    with pytest.raises(ValueError, match=message):
        built.check(views=load(**options).views)


def test_another_teacher_is_named(built, load, make_teacher, teacher):
    # The order of the images and the size of the batches do not matter.
    built.check(teacher, load(seed=9, view_seed=5, batch_size=32).views)
    with pytest.raises(ValueError, match=r"teacher weights \(SHA-256\)"):
        built.check(make_teacher(2))
    with pytest.raises(ValueError, match='preprocess: null in the cache, now "_back'):
        built.check(teacher, preprocess=_backbone)


def spoil_shard(folder):
    [path] = folder.glob("*.array_record")
    data = bytearray(path.read_bytes())
    data[5000] ^= 1
    path.write_bytes(data)


def spoil_manifest(folder, **changes):
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (spoil_shard, "is damaged: its SHA-256"),
        (lambda f: next(f.glob("*.array_record")).unlink(), "lacks outputs-00000"),
        (lambda f: (f / "manifest.json").unlink(), "is not a teacher cache"),
        (lambda f: (f / "manifest.json").write_text("{"), "manifest.json is damaged"),
        (lambda f: spoil_manifest(f, format="2"), "Received: '2'"),
        (lambda f: spoil_manifest(f, shards=[]), "0 of 1352 views"),
        (lambda f: spoil_manifest(f, shards=[{}]), "manifest.json is damaged"),
        (lambda f: spoil_manifest(f, contents=None), "manifest.json is damaged"),
        (lambda f: spoil_manifest(f, contents={"classes": 3}), "KeyError: 'dtype'"),
    ],
    ids=[
        "bit",
        "file",
        "manifest",
        "json",
        "format",
        "unfinished",
        "shard",
        "part",
        "key",
    ],
)
def test_damage_is_named(built, tmp_path, damage, message):
    shutil.copytree(built.folder, tmp_path / "cache")
    damage(tmp_path / "cache")
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        TeacherCache(tmp_path / "cache")


def test_views_that_do_not_exist(built):
    with pytest.raises(IndexError, match="has views 0 to 1351. Received: 3 to 1352"):
        built.read([3, 1352])


def test_a_stored_teacher_has_the_layers_of_the_taps():
    shapes = {None: (10,), "a": (2,), "part/b": (4, 4, 3), "part/c": (3,)}
    model = make_stored_teacher(shapes, ["a", "part/b", "part/c"])
    assert [tensor.name for tensor in model.inputs] == [
        "stored_tap_a",
        "stored_tap_part.b",
        "stored_tap_part.c",
        "stored_logits",
    ]
    assert model.get_layer("part").get_layer("b").output.shape == (None, 4, 4, 3)
    assert not model.weights
