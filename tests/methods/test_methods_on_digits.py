"""Every method on real digits, and one down to the artefacts of its student."""

import keras
import numpy as np
import pytest
from helpers.every_method import METHODS, two_stages
from helpers.small_models import cross_entropy

from keras_diffkd import Distiller, datasets
from keras_diffkd.export import export_student

pytestmark = pytest.mark.backend("tensorflow")

# Those of logits, of features, and those that denoise.
GROUPS = [
    ("kd", "dist", "dkd", "lskd", "wttm", "keras"),
    ("fitnet", "vkd", "afd", "rtk"),
    ("kdiffusion", "dskd", "diffkd", "diffkd_logits"),
]
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


def distiller_after(epochs, names, digits, teacher):
    """Returns a distiller that has learned by some methods, and its history."""
    keras.utils.set_random_seed(1)
    methods = [METHODS[name]() for name in names]
    distiller = Distiller(teacher, two_stages(8), methods)
    distiller.compile(
        keras.optimizers.Adam(0.01), cross_entropy(), metrics=["accuracy"]
    )
    history = distiller.fit(
        digits.train,
        epochs=epochs,
        steps_per_epoch=150,
        validation_data=digits.test,
        shuffle=False,
        verbose=0,
    ).history
    return distiller, history


@pytest.mark.parametrize("names", GROUPS, ids="-".join)
def test_learns_from_the_teacher(names, digits, teacher):
    """Several methods at a time: each has losses of its own."""
    distiller, history = distiller_after(4, names, digits, teacher)
    for method in distiller.methods:
        for loss in method.loss_weights:
            values = history[f"{method.name}/{loss}"]
            assert values[-1] < values[0], f"{method.name}/{loss}: {values}"
    assert history["task_loss"][-1] < history["task_loss"][0]
    assert history["val_accuracy"][-1] > 0.4


def test_every_method_is_in_a_group():
    assert sorted(sum(GROUPS, ())) == sorted(METHODS)


def test_the_student_ships(digits, teacher, tmp_path):
    """Of one method: that of every other is as clean, says test_all_methods.py."""
    distiller, _ = distiller_after(1, ["diffkd"], digits, teacher)
    images, labels = next(iter(digits.test.unbatch().batch(200)))
    manifest = export_student(
        distiller.strip(),
        tmp_path / "export",
        FORMATS,
        samples=(images.numpy(), labels.numpy()),
        labels=digits.label_names,
        normalization=digits.normalization,
    )
    assert set(manifest["artefacts"]) == set(FORMATS)
    expected = np.mean(distiller.predict(images, verbose=0).argmax(-1) == labels)
    for artefact in manifest["artefacts"].values():
        found = artefact["verification"]
        assert found["max_difference"] < 1e-4
        assert found["agreement"] == 1.0
        assert found["accuracy"] == pytest.approx(expected)
