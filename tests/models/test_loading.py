import importlib
import io
import shutil
import socket
import sys
import warnings
import zipfile

import keras
import numpy as np
import pytest
from helpers.small_models import small_hub_backbone

from keras_diffkd.models import build_model, load_model


@pytest.fixture
def saved(tmp_path):
    model = build_model("digits_student", (8, 8, 1), 10)
    model.save(tmp_path / "student.keras")
    return tmp_path / "student.keras", model


def test_zoo():
    model = load_model("resnet8x4", input_shape=(32, 32, 3), num_classes=5)
    assert model.name == "resnet8x4"
    assert model.output_shape == (None, 5)


def test_file(saved, rng):
    path, model = saved
    loaded = load_model(str(path), input_shape=(8, 8, 1), num_classes=10)
    x = rng.normal(size=(2, 8, 8, 1)).astype("float32")
    np.testing.assert_array_equal(loaded(x), model(x))


def test_sequential_file(tmp_path):
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Dense(3)])
    path = str(tmp_path / "sequential.keras")
    model.save(path)
    load_model(path, input_shape=(8, 8, 1), num_classes=3)
    with pytest.raises(ValueError, match="another number of classes"):
        load_model(path, num_classes=4)


def test_compiled_model_comes_without_optimizer_and_loss(saved):
    path, model = saved
    model.compile("adam", "mse")
    model.save(path)
    assert not load_model(str(path)).compiled


@pytest.mark.parametrize("cut", [0.0, 0.3, 0.99])
def test_truncated_file(saved, cut):
    path, _ = saved
    content = path.read_bytes()
    path.write_bytes(content[: int(cut * len(content))])
    with pytest.raises(ValueError, match="student.keras' is corrupt.*save .*again"):
        load_model(str(path))


def test_file_with_a_damaged_byte(saved):
    path, _ = saved
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)
    with pytest.raises(ValueError, match="student.keras' is corrupt.*CRC-32"):
        load_model(str(path))


def test_file_with_weights_missing(saved):
    h5py = importlib.import_module("h5py")
    path, _ = saved
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    weights = io.BytesIO(parts["model.weights.h5"])
    with h5py.File(weights, "r+") as file:
        del file["layers/conv2d"]
    parts["model.weights.h5"] = weights.getvalue()
    with zipfile.ZipFile(path, "w") as archive:
        for name, part in parts.items():
            archive.writestr(name, part)
    with pytest.raises(ValueError, match="student.keras' could not be loaded"):
        load_model(str(path))


def test_file_for_other_data(saved):
    path = str(saved[0])
    with pytest.raises(ValueError, match=r"another input shape.*\(None, 8, 8, 1\)"):
        load_model(path, input_shape=(8, 8, 3))
    with pytest.raises(ValueError, match=r"another number of classes.*\(None, 10\)"):
        load_model(path, num_classes=100)


def test_open_sizes_fit_every_image(tmp_path):
    path = tmp_path / "open.keras"
    build_model("resnet8x4", (None, None, 3), 10).save(path)
    assert load_model(str(path), input_shape=(32, 32, 3), num_classes=10)


@keras.saving.register_keras_serializable(package="tests")
class Subclassed(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = keras.layers.Dense(10)

    def build(self, input_shape):
        self.dense.build((None, 64))

    def call(self, inputs):
        return self.dense(keras.ops.reshape(inputs, (-1, 64)))


def test_subclassed_model(tmp_path, rng):
    model = Subclassed()
    x = rng.normal(size=(2, 8, 8, 1)).astype("float32")
    expected = model(x)
    model.save(tmp_path / "model.keras")
    loaded = load_model(
        str(tmp_path / "model.keras"),
        input_shape=(8, 8, 1),
        num_classes=10,
        allow_classes=["tests>Subclassed"],
    )
    np.testing.assert_array_equal(loaded(x), expected)


def test_application():
    model = load_model(
        "applications:MobileNetV2", input_shape=(32, 32, 3), num_classes=5
    )
    assert model.output_shape == (None, 5)
    assert model.layers[-1].activation is keras.activations.linear


def test_pretrained_application(monkeypatch):
    received = {}

    def mobilenet(**options):
        received.update(options)
        model = build_model("digits_student", (224, 224, 3), 1000)
        if options.get("include_top", True):
            return model
        pooled = keras.layers.GlobalAveragePooling2D()
        return keras.Model(model.input, pooled(model.get_layer("features").output))

    monkeypatch.setattr(keras.applications, "MobileNetV2", mobilenet)
    load_model("applications:MobileNetV2+imagenet")
    assert received["weights"] == "imagenet"
    assert received["classifier_activation"] is None
    with pytest.warns(UserWarning, match="has no head for 5 classes"):
        model = load_model("applications:MobileNetV2+imagenet", num_classes=5)
    assert received["weights"] == "imagenet"
    assert received["pooling"] == "avg"
    assert model.output_shape == (None, 5)


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        ("resnet21", {}, "'resnet21'. Did you mean.*'resnet20'.*'hub:PRESET'"),
        ("model.h5", {}, "'model.h5' is refused: models are loaded only from .keras"),
        ("resnet20", {}, "'resnet20' .* needs input_shape and num_classes"),
        ("missing.keras", {}, "The model file 'missing.keras' does not exist"),
        ("applications:MobileNetV9", {}, "Did you mean 'MobileNetV2'"),
        ("applications:imagenet_utils", {}, "Unknown model of keras.applications"),
        ("applications:ResNet50+coco", {}, "'applications:ResNet50+coco'"),
        ("applications:ResNet50", {}, "needs num_classes"),
        (
            "applications:InceptionV3",
            {"input_shape": (32, 32, 3), "num_classes": 5},
            "could not build 'applications:InceptionV3'.*at least 75x75",
        ),
    ],
)
def test_bad_specifications(spec, options, message):
    with pytest.raises(ValueError, match=message.replace("+", r"\+")):
        load_model(spec, **options)


@pytest.fixture(scope="module")
def presets(tmp_path_factory):
    """A preset with a head for 5 classes, saved with softmax, and one without."""
    keras_hub = pytest.importorskip("keras_hub")
    folder = tmp_path_factory.mktemp("presets")
    backbone = small_hub_backbone()
    classifier = keras_hub.models.ResNetImageClassifier(
        backbone=backbone, num_classes=5, activation="softmax"
    )
    classifier.save_to_preset(str(folder / "classifier"))
    backbone.save_to_preset(str(folder / "backbone"))
    return folder, classifier


def test_preset_returns_its_own_logits(presets, rng):
    folder, classifier = presets
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = load_model(
            f"hub:{folder}/classifier", input_shape=(16, 16, 3), num_classes=5
        )
    x = rng.normal(size=(2, 16, 16, 3)).astype("float32")
    logits = np.array(model(x, training=False))
    assert np.abs(np.sum(logits, -1) - 1).min() > 1e-3
    expected = classifier(x, training=False)
    np.testing.assert_allclose(keras.ops.softmax(logits), expected, atol=1e-6)


@pytest.mark.parametrize("name", ["classifier", "backbone"])
def test_preset_gets_a_head_for_other_classes(presets, name):
    folder, classifier = presets
    with pytest.warns(UserWarning, match="no head for 7 classes.*not trained"):
        model = load_model(f"hub:{folder}/{name}", num_classes=7)
    assert model.output_shape == (None, 7)
    np.testing.assert_array_equal(
        model.backbone.get_weights()[0], classifier.backbone.get_weights()[0]
    )


@pytest.mark.parametrize("name", ["classifier", "backbone"])
def test_architecture_of_a_preset_with_new_weights(presets, name, rng):
    folder, classifier = presets
    keras.utils.set_random_seed(1)  # The preset was built from seed 0.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = load_model(
            f"hub:{folder}/{name}+new", input_shape=(16, 16, 3), num_classes=7
        )
    logits = model(rng.normal(size=(2, 16, 16, 3)).astype("float32"), training=False)
    assert logits.shape == (2, 7)
    trained, new = (m.backbone.get_weights() for m in (classifier, model))
    assert [w.shape for w in new] == [w.shape for w in trained]
    assert np.abs(new[0] - trained[0]).max() > 0.01


def test_architecture_of_a_preset_reads_no_weights(presets, tmp_path):
    shutil.copytree(presets[0] / "classifier", tmp_path / "bare")
    for path in (tmp_path / "bare").glob("*.h5"):
        path.unlink()
    assert load_model(f"hub:{tmp_path}/bare+new").output_shape == (None, 5)
    with pytest.raises(ValueError, match="could not load 'hub:.*/bare'"):
        load_model(f"hub:{tmp_path}/bare")


@pytest.mark.parametrize(
    ("task", "name", "classes"),
    [
        ("detection", "retinanet_scenes_student", 3),
        ("segmentation", "deeplabv3_scenes_student", 4),
    ],
)
def test_architectures_of_detectors_and_segmenters(task, name, classes, rng, tmp_path):
    pytest.importorskip("keras_hub")
    shape = (64, 64, 3)
    original = build_model(name, shape, 10)
    for weight in original.weights:
        weight.assign(weight * 0 + 0.5)
    original.save_to_preset(str(tmp_path / "preset"))
    model = load_model(
        f"hub:{tmp_path}/preset+new", input_shape=shape, num_classes=classes, task=task
    )
    assert not any(np.all(np.array(weight) == 0.5) for weight in model.weights)
    outputs = model(rng.normal(size=(1, *shape)).astype("float32"), training=False)
    if task == "segmentation":
        assert outputs.shape == (1, 64, 64, classes)
        return
    assert outputs["cls_logits"].shape[-1] == classes
    # The prior is where `build_model` puts it.
    biases = np.array(model.classification_head.prediction_layer.bias)
    np.testing.assert_allclose(1 / (1 + np.exp(-biases)), 0.01, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("nonsense", {}),
        ("nonsense+new", {}),
        ("backbone+new", {}),
        ("backbone", {}),
        ("classifier", {"input_shape": (16, 16, 1), "num_classes": 5}),
    ],
)
def test_bad_presets(presets, name, options):
    stem = name.removesuffix("+new")
    with pytest.raises(ValueError, match=f"could not load 'hub:.*/{stem}"):
        load_model(f"hub:{presets[0]}/{name}", **options)


@pytest.mark.parametrize(
    ("preset", "close"),
    [
        ("resnet_50_imagenett", "Did you mean 'resnet_50_imagenet' or "),
        ("no_such_preset", "ImageClassifier or a folder. Expected hub:NAME"),
        ("bert_base_en", "not the name of an available ImageClassifier"),
    ],
)
def test_unknown_preset_is_answered_with_the_closest(no_network, preset, close):
    pytest.importorskip("keras_hub")
    with pytest.raises(ValueError, match=close) as error:
        load_model(f"hub:{preset}")
    message = str(error.value)
    assert message.startswith(f"KerasHub could not load 'hub:{preset}'")
    assert "sorted(keras_hub.models.ImageClassifier.presets)" in message
    assert "\n" not in message


@pytest.fixture
def no_network(monkeypatch, tmp_path):
    def refuse(*args, **kwargs):
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "empty"))


def test_preset_that_cannot_be_downloaded(no_network):
    pytest.importorskip("keras_hub")
    with pytest.raises(ValueError, match="'hub:resnet_18_imagenet'") as error:
        load_model("hub:resnet_18_imagenet", num_classes=10)
    message = str(error.value)
    assert "not in the cache" in message
    assert "save_to_preset" in message
    assert "\n" not in message


def test_preset_whose_weights_do_not_fit(tmp_path):
    """KerasHub prints the position embeddings, all of them."""
    keras_hub = pytest.importorskip("keras_hub")
    backbone = keras_hub.models.ViTBackbone((32, 32, 3), 8, 1, 2, 32, 8)
    classifier = keras_hub.models.ViTImageClassifier(backbone, num_classes=5)
    classifier.save_to_preset(str(tmp_path / "vit"))
    assert load_model(f"hub:{tmp_path}/vit", input_shape=(32, 32, 3))
    with pytest.raises(ValueError, match=r"input_shape=\(16, 16, 3\)") as error:
        load_model(f"hub:{tmp_path}/vit", input_shape=(16, 16, 3))
    assert len(str(error.value)) < 1000


def test_preset_without_keras_hub(monkeypatch):
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    with pytest.raises(ImportError, match="pip install keras-hub"):
        load_model("hub:resnet_18_imagenet")
