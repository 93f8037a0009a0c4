import re
import sys

import keras
import numpy as np
import pytest

from keras_diffkd.models import UnsafeModelError, load_model
from keras_diffkd.models.files import opening as files
from keras_diffkd.models.files import weight_limit
from keras_diffkd.models.files.opening import check_preset_folder, load_file


@keras.saving.register_keras_serializable(package="tests_files")
class Canary(keras.layers.Layer):
    """Tells when it is built, or only made."""

    made = 0

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        Canary.made += 1


@pytest.fixture
def nothing_is_built(monkeypatch):
    """Fails a test in which Keras is given a file, or a config."""
    calls = []
    for module, name in (
        (keras.models, "load_model"),
        (keras.saving, "load_model"),
        (keras.saving, "deserialize_keras_object"),
        (keras.layers, "deserialize"),
    ):
        monkeypatch.setattr(module, name, lambda *args, **kwargs: calls.append(args))
    before = Canary.made
    yield
    assert calls == []
    assert Canary.made == before


def hostile(name, **config):
    return {
        "module": "keras.layers",
        "class_name": name,
        "config": {"name": "evil", **config},
        "registered_name": None,
    }


LAMBDA = "4wEAAAAAAAAAAAAAAAEAAAADAAAA8wYAAACXAGQAUwA="
CORPUS = {
    "lambda by bytes": hostile(
        "Lambda", function={"class_name": "__lambda__", "config": {"code": LAMBDA}}
    ),
    "lambda by name": hostile("Lambda", function="os.system"),
    "lambda registered": {**hostile("Dense"), "registered_name": "Lambda>Lambda"},
    "saved model": hostile("TFSMLayer", filepath="/tmp/evil"),
    "registered class": {**hostile("Dense"), "registered_name": "tests_files>Canary"},
    "function as class": {
        "module": "builtins",
        "class_name": "function",
        "config": "eval",
        "registered_name": "eval",
    },
    "download": {**hostile("get_file", origin="x"), "module": "keras.utils"},
    "process": {**hostile("Popen", args="id"), "module": "subprocess"},
    "inside a wrapper": hostile(
        "TimeDistributed", layer=hostile("Bidirectional", layer=hostile("Lambda"))
    ),
    "activation": hostile("Dense", units=2, activation=hostile("Lambda")),
    "build config": {**hostile("Dense", units=2), "build_config": hostile("Lambda")},
}


@pytest.mark.parametrize("name", CORPUS)
@pytest.mark.usefixtures("nothing_is_built")
def test_hostile_configs(name, keras_file):
    path = keras_file.with_layer(CORPUS[name]).write()
    with pytest.raises(UnsafeModelError, match=r"is refused: the .* at config.json/"):
        load_model(str(path))
    keras_file.with_config(CORPUS[name]).write()
    if name != "function as class":
        with pytest.raises(UnsafeModelError):
            load_model(str(path))


@pytest.mark.usefixtures("nothing_is_built")
def test_hostile_weights(keras_file, change_weights):
    h5py = pytest.importorskip("h5py")

    def link(file):
        del file["layers/dense/vars/0"]
        file["layers/dense/vars/0"] = h5py.ExternalLink("/tmp/secret.h5", "/x")

    path = change_weights(keras_file, link).write()
    with pytest.raises(UnsafeModelError, match="its weights have a link"):
        load_model(str(path))


@pytest.mark.usefixtures("nothing_is_built")
def test_pickled_weights(keras_file, tmp_path):
    np.savez(tmp_path / "weights.npz", np.array([Canary], dtype=object))
    keras_file.parts["model.weights.npz"] = (tmp_path / "weights.npz").read_bytes()
    del keras_file.parts["model.weights.h5"]
    with pytest.raises(UnsafeModelError, match="model.weights.npz"):
        load_model(str(keras_file.write()))


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("old.h5", "save it|Save the model"),
        ("model.pkl", "Unpickling runs any code"),
        ("model.pt", "copy the weights"),
        ("saved_model", "Save the model"),
        ("resnet20.weights", "Save the model"),
    ],
)
@pytest.mark.usefixtures("nothing_is_built")
def test_other_formats(name, advice, tmp_path):
    path = tmp_path / name
    path.mkdir() if name == "saved_model" else path.write_bytes(b"anything")
    with pytest.raises(UnsafeModelError, match=advice) as error:
        load_model(str(path))
    assert "--allow_unsafe_formats" in str(error.value)


def test_other_format_that_is_allowed(tmp_path, rng):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    path = str(tmp_path / "old.h5")
    model.save(path)
    with pytest.warns(UserWarning, match="old.h5' is opened without any checks"):
        loaded = load_model(path, allow_unsafe_formats=True)
    x = rng.normal(size=(2, 4)).astype("float32")
    np.testing.assert_array_equal(loaded(x), model(x))
    (tmp_path / "old.pkl").write_bytes(b"anything")
    with (
        pytest.warns(UserWarning, match="without any checks"),
        pytest.raises(ValueError, match="Keras could not load .*Unpickling"),
    ):
        load_model(str(tmp_path / "old.pkl"), allow_unsafe_formats=True)


def test_unsafe_deserialization_in_this_process(keras_file, monkeypatch):
    monkeypatch.setattr(files, "in_safe_mode", lambda: False)
    with pytest.raises(UnsafeModelError, match="enable_unsafe_deserialization"):
        load_model(str(keras_file.write()))


@pytest.mark.parametrize("version", ["3.15.0", "3.9.2", "3.15.0.dev20260101"])
def test_keras_that_loads_what_it_should_not(version, keras_file, monkeypatch):
    monkeypatch.setattr(keras, "__version__", version)
    with pytest.raises(UnsafeModelError, match=re.escape("keras>=3.15.1")):
        load_model(str(keras_file.write()))
    monkeypatch.setattr(keras, "__version__", "3.16.0rc1")
    load_model(str(keras_file.path))


def test_a_config_that_asks_for_terabytes(keras_file, monkeypatch):
    layers = keras_file.config["config"]["layers"]
    layers[-1]["config"]["units"] = 10**12
    path = keras_file.with_layer(layers[-1]).write()
    with pytest.raises(UnsafeModelError, match="the number 1000000000000 at"):
        load_model(str(path))
    layers[-1]["config"]["units"] = 2**24
    layers.insert(1, {**layers[-1], "config": {"units": 2**24, "name": "first"}})
    config = keras_file.config
    config["config"]["layers"] = layers
    path = keras_file.with_config(config).write()
    monkeypatch.setattr(weight_limit, "SPARE_WEIGHTS", 2**22)
    with pytest.raises(UnsafeModelError, match="more weights than the 10 in the file"):
        load_model(str(path))


def test_classes_that_the_user_adds(keras_file):
    layer = {**hostile("Canary"), "registered_name": "tests_files>Canary"}
    path = keras_file.with_layer(layer).write()
    with pytest.raises(UnsafeModelError, match="'tests_files>Canary'"):
        load_file(path)
    assert load_file(path, ["tests_files>Canary"]).layers[-1].name == "evil"


def test_compiled_with_a_lambda(keras_file):
    """The loss of a model is not loaded, and so need not be safe."""
    config = keras_file.config
    config["compile_config"] = {"loss": CORPUS["lambda by bytes"]}
    model = load_file(keras_file.with_config(config).write())
    assert not model.compiled


@pytest.mark.parametrize("name", ["config.json", "task.json"])
def test_preset_folders(name, keras_file, tmp_path, change_weights):
    config = keras_file.with_layer(CORPUS["inside a wrapper"]).parts["config.json"]
    (tmp_path / name).write_bytes(config)
    with pytest.raises(UnsafeModelError, match=f"{name}' is refused: the class"):
        check_preset_folder(tmp_path)
    (tmp_path / name).write_bytes(b"{}")
    check_preset_folder(tmp_path)
    (tmp_path / "model.weights.h5").write_bytes(b"anything")
    with pytest.raises(UnsafeModelError, match="weights.h5' is refused"):
        check_preset_folder(tmp_path)


def test_preset_folder_is_checked_before_keras_hub_reads_it(keras_file, tmp_path):
    pytest.importorskip("keras_hub")
    config = keras_file.with_config(CORPUS["saved model"]).parts["config.json"]
    (tmp_path / "config.json").write_bytes(config)
    with pytest.raises(UnsafeModelError, match="TFSMLayer"):
        load_model(f"hub:{tmp_path}")


def test_model_of_keras_hub_without_keras_hub(keras_file, monkeypatch):
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    layer = {**hostile("Any"), "module": "keras_hub.src.models", "registered_name": "a"}
    with pytest.raises(ImportError, match="pip install keras-hub"):
        load_model(str(keras_file.with_layer(layer).write()))


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("resnet8x4", (32, 32, 3)),
        ("retinanet_scenes_student", (64, 64, 3)),
        ("deeplabv3_scenes_student", (64, 64, 3)),
        ("applications:MobileNetV3Small", (32, 32, 3)),
    ],
)
def test_models_that_there_are(name, shape, tmp_path):
    if "scenes" in name:
        pytest.importorskip("keras_hub")
    model = load_model(name, input_shape=shape, num_classes=5)
    path = tmp_path / "model.keras"
    model.save(path)
    loaded = load_model(str(path), input_shape=shape, num_classes=5)
    for old, new in zip(model.weights, loaded.weights, strict=True):
        np.testing.assert_array_equal(old, new)
