"""The commands on a folder of images."""

import keras
import numpy as np
import pytest
from helpers.digit_networks import read_weights
from helpers.image_folders import write_digits

from keras_diffkd.recipes.run.metrics_log import read_metrics
from keras_diffkd.recipes.tasks.classification import LabeledAccuracy


@pytest.fixture
def distil_folder(distil, tmp_path):
    write_digits(tmp_path / "digits", per_class=8)
    write_digits(tmp_path / "more", per_class=12)

    def distil_folder(*arguments, run="run"):
        dataset = f"--dataset={tmp_path / 'digits'}"
        return distil(dataset, f"--data_dir={tmp_path / 'data'}", *arguments, run=run)

    return distil_folder


def test_images_without_labels_are_for_the_methods_alone(
    distil_folder, tmp_path, capsys
):
    arguments = ("--batch_size=16", "--student=digits_student", "--epochs=2")
    unlabeled = f"--unlabeled={tmp_path / 'more'}"
    run = distil_folder(unlabeled, "--distill_weight=0", *arguments)
    printed = capsys.readouterr()
    said = "60 training and 20 test images of 10 classes, and 120 without labels."
    assert printed.out.count(said) == 1
    assert (
        printed.err.count("20 of 20 images for testing are training images, too") == 1
    )
    # The student alone, which may come later, is that of a folder without them, in as
    # many steps.
    distil_folder(unlabeled, "--baseline", "--distill_weight=0", *arguments)
    alone = distil_folder("--method=none", *arguments, run="alone")
    for ours, theirs in zip(
        read_weights(run / "baseline" / "student.keras"),
        read_weights(alone / "student.keras"),
        strict=True,
    ):
        np.testing.assert_array_equal(ours, theirs)
    first, last = read_metrics(run / "metrics.jsonl")
    assert np.isfinite([first["task_loss"], last["task_loss"]]).all()
    for wrong, says in (
        ("--method=none", "needs a method that learns from a teacher"),
        ("--task=segmentation", "--task=classification only"),
    ):
        with pytest.raises(ValueError, match=says):
            distil_folder(unlabeled, wrong, run="other")


def test_accuracy_of_the_labeled_ones():
    metric = LabeledAccuracy()
    logits = np.eye(3, dtype="float32")[[0, 1, 2, 0]]
    metric.update_state(np.array([0, 2, -1, -1]), logits)
    assert float(metric.result()) == 0.5
    loss = keras.losses.SparseCategoricalCrossentropy(True, ignore_class=-1)
    expected = keras.losses.SparseCategoricalCrossentropy(True)(
        np.array([0, 2]), logits[:2]
    )
    found = loss(np.array([0, 2, -1, -1]), logits)
    assert float(found) == pytest.approx(float(expected), rel=1e-5)
