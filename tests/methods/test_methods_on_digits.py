"""All methods on real digits, down to the artifacts of their student."""

import keras
import numpy as np
import pytest
from helpers.every_method import METHODS, two_stages
from helpers.small_models import cross_entropy

from keras_diffkd import Distiller, datasets
from keras_diffkd.export import export_student

pytestmark = pytest.mark.backend("tensorflow")

FORMATS = ["saved_model", "onnx", "tflite"]


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    return datasets.load_classification(
        "digits", data_dir=str(folder), batch_size=64, augment="none"
    )


@pytest.fixture(scope="module")
def teacher(digits):
    keras.utils.set_random_seed(0)
    teacher = two_stages(32)
    teacher.compile(keras.optimizers.Adam(0.01), cross_entropy(), metrics=["accuracy"])
    teacher.fit(digits.train, epochs=1, steps_per_epoch=150, shuffle=False, verbose=0)
    accuracy = teacher.evaluate(digits.test, verbose=0)[1]
    assert accuracy > 0.85
    return teacher


@pytest.fixture(scope="module")
def trained(digits, teacher):
    """A distiller after 300 steps, its history, and its losses before them."""
    keras.utils.set_random_seed(1)
    methods = [make() for make in METHODS.values()]
    distiller = Distiller(teacher, two_stages(8), methods)
    distiller.compile(
        keras.optimizers.Adam(0.01), cross_entropy(), metrics=["accuracy"]
    )
    before, _ = distiller.compute_training_losses(*next(iter(digits.train)))
    history = distiller.fit(
        digits.train,
        epochs=2,
        steps_per_epoch=150,
        validation_data=digits.test,
        shuffle=False,
        verbose=0,
    ).history
    return distiller, history, before


def test_learns_from_the_teacher(trained):
    """All methods at a time: each has losses of its own."""
    distiller, history, before = trained
    for method in distiller.methods:
        for loss in method.loss_weights:
            name = f"{method.name}/{loss}"
            assert history[name][-1] < float(before[name]), name
    assert history["task_loss"][-1] < history["task_loss"][0]
    assert history["val_accuracy"][-1] > 0.4


def test_the_student_ships(digits, trained, tmp_path):
    distiller, *_ = trained
    images, labels = next(iter(digits.test.unbatch().batch(200)))
    manifest = export_student(
        distiller.strip(),
        tmp_path / "export",
        FORMATS,
        samples=(images.numpy(), labels.numpy()),
        labels=digits.label_names,
        normalization=digits.normalization,
    )
    assert set(manifest["artifacts"]) == set(FORMATS)
    expected = np.mean(distiller.predict(images, verbose=0).argmax(-1) == labels)
    for artifact in manifest["artifacts"].values():
        found = artifact["verification"]
        assert found["max_difference"] < 1e-4
        assert found["agreement"] == 1.0
        assert found["accuracy"] == pytest.approx(expected)
