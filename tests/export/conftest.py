import hashlib
import shutil

import keras
import numpy as np
import pytest
from helpers.brief_latencies import measure_briefly
from helpers.quantizing_here import quantizing_here

from keras_diffkd.export import export_student
from keras_diffkd.models import build_model

measure_briefly()

LABELS = ["a", "b", "c", "d", "e"]
NORMALIZATION = {"mean": [0.5], "std": [0.25], "input_range": [0, 255]}


def randomize(model, seed=0):
    """Random weights, and batch-norm statistics that inference must not ignore."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        value = rng.standard_normal(weight.shape) * 0.3
        is_scale = "variance" in weight.path or "gamma" in weight.path
        weight.assign(np.abs(value) + 0.5 if is_scale else value)
    return model


def make_student(seed=0, num_classes=5):
    x = inputs = keras.Input((6, 6, 2), name="pixels")
    x = keras.layers.Conv2D(6, 3, use_bias=False)(x)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.ReLU()(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    outputs = keras.layers.Dense(num_classes, name="classes")(x)
    return randomize(keras.Model(inputs, outputs, name="student"), seed)


def make_scenes_model(name, image_shape, num_classes):
    """A model of the zoo whose outputs vary as if it had been trained."""
    keras.utils.set_random_seed(0)  # Whatever has been built before.
    model = build_model(name, image_shape, num_classes)
    rng = np.random.default_rng(0)
    for weight in model.weights:
        noise = 0.02 * rng.standard_normal(weight.shape).astype("float32")
        weight.assign(weight + noise)
    return model


def hash_files(folder):
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(
            path.read_bytes()
        ).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="session")
def student():
    return make_student()


@pytest.fixture(scope="session")
def images():
    return np.random.default_rng(1).standard_normal((150, 6, 6, 2)).astype("float32")


@pytest.fixture(scope="session")
def detector():
    return make_scenes_model("retinanet_scenes_student", (64, 64, 3), 10)


@pytest.fixture(scope="session")
def segmenter():
    return make_scenes_model("deeplabv3_scenes_student", (64, 64, 3), 11)


@pytest.fixture(scope="session")
def scenes():
    return np.random.default_rng(2).standard_normal((6, 64, 64, 3)).astype("float32")


@pytest.fixture(scope="session")
def exported(student, images, tmp_path_factory):
    """An export in all formats, which no test changes."""
    folder = tmp_path_factory.mktemp("run") / "export"
    export_student(
        student,
        folder,
        samples=images,
        labels=LABELS,
        normalization=NORMALIZATION,
        source={"experiment": "small", "run_dir": "runs/small"},
    )
    return folder


@pytest.fixture(scope="module")
def int8_in_this_process():
    """For all tests of a module; see `quantizing_here`."""
    with quantizing_here():
        yield


@pytest.fixture
def export_copy(exported, tmp_path):
    """A copy of the export for tests that change it."""
    return shutil.copytree(exported, tmp_path / "export")


@pytest.fixture
def helpers():
    """The functions above, for tests that need more models and hashes."""

    class Helpers:
        labels = LABELS
        normalization = NORMALIZATION

    Helpers.make_student = staticmethod(make_student)
    Helpers.make_scenes_model = staticmethod(make_scenes_model)
    Helpers.randomize = staticmethod(randomize)
    Helpers.hash_files = staticmethod(hash_files)
    return Helpers
