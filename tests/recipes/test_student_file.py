"""A student that plain Keras trained, exported by the command."""

import json

import keras
import numpy as np
import onnxruntime
import pytest

from keras_diffkd.datasets import load_classification
from keras_diffkd.export import export_student
from keras_diffkd.export.serving.pixels import Preprocessing
from keras_diffkd.quantization import QuantizationRanges
from keras_diffkd.recipes import export
from keras_diffkd.recipes.pixels import read_normalization


@pytest.fixture(scope="module")
def pixels(data_dir):
    """The digits as uint8 pixels: training and test images with labels."""
    data = load_classification("digits", data_dir=data_dir, batch_size=64)

    def to_pixels(images):
        scale, shift = data.normalization["std"], data.normalization["mean"]
        return np.rint((images * scale + shift) * 255).astype("uint8")

    train, test = (
        [np.concatenate(parts) for parts in zip(*batches, strict=True)]
        for batches in (
            list(data.train.take(data.steps_per_epoch).as_numpy_iterator()),
            list(data.test.as_numpy_iterator()),
        )
    )
    return (to_pixels(train[0]), train[1]), (to_pixels(test[0]), test[1])


@pytest.fixture(scope="module")
def student(pixels):
    """It takes pixels from 0 to 1, as half of all tutorials have them."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential(
        [keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(24, "relu")]
        + [layers.Dense(10)]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.02), loss)
    (images, labels), _ = pixels
    model.fit(images / 255.0, labels, batch_size=64, epochs=4, verbose=0)
    return model


@pytest.fixture
def run(parse, tmp_path, data_dir, student):
    student.save(tmp_path / "student.keras")

    def run(*arguments):
        parse(
            f"--student={tmp_path / 'student.keras'}",
            f"--output_dir={tmp_path / 'out'}",
            f"--data_dir={data_dir}",
            *arguments,
        )
        export.main([])
        return tmp_path / "out"

    return run


def accuracy_of_file(path, images, labels):
    """What the runtime alone says to raw pixels."""
    session = onnxruntime.InferenceSession(str(path))
    [logits] = session.run(["logits"], {"image": images})
    return np.mean(logits.argmax(-1) == labels)


def test_raw_pixels_and_int8_are_judged_on_the_users_images(run, pixels, student):
    folder = run(
        "--dataset=digits",
        "--normalization=0_to_1",
        "--formats=onnx",
        "--quantize=int8",
    )
    report = json.loads((folder / "report.json").read_text())
    _, (images, labels) = pixels
    exact = np.mean(student.predict(images / 255.0, verbose=0).argmax(-1) == labels)
    assert exact > 0.6, "the student knows digits"
    assert report["keras"]["accuracy"] == pytest.approx(exact)
    assert report["num_samples"] == len(labels)
    for name in ("onnx", "onnx_int8"):
        entry = report["artifacts"][name]
        found = accuracy_of_file(folder / entry["file"], images, labels)
        assert found == pytest.approx(entry["accuracy"])
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["labels"] == [str(digit) for digit in range(10)]
    assert manifest["input"]["dtype"] == "uint8"
    calibration = manifest["artifacts"]["onnx_int8"]["quantization"]["calibration"]
    assert calibration == {"num_samples": 256, "samples": "given"}


@pytest.fixture
def given(monkeypatch):
    """What the command gives to `export_student`."""
    found = {}
    monkeypatch.setattr(export, "read_verification_report", lambda path: {})
    monkeypatch.setattr(
        export, "export_student", lambda *_, **options: found.update(options)
    )
    return found


def test_images_are_normalized_as_the_student_takes_them(run, given, pixels, capsys):
    _, (images, labels) = pixels
    for flag, low, high in (
        ("0_to_255", 0, 255),
        ("0.5:0.25", -2, 2),
        (None, -0.8118, 1.8506),
    ):
        given_flag = [f"--normalization={flag}"] if flag else []
        run("--dataset=digits", "--quantize=int8", *given_flag)
        for samples in (given["samples"][0], given["calibration_samples"]):
            assert samples.min() == pytest.approx(low, abs=1e-3)
            assert samples.max() == pytest.approx(high, abs=1e-3)
        restored = Preprocessing.of(given["normalization"]).restore(given["samples"][0])
        np.testing.assert_array_equal(restored, images)
        np.testing.assert_array_equal(given["samples"][1], labels)
    assert (
        "(pixel / 255 - 0.3049) / 0.3756. Pass --normalization"
        in capsys.readouterr().out
    )


def test_ranges_beside_the_student_need_no_calibration(run, given, tmp_path, capsys):
    ranges = QuantizationRanges({"image": (0.0, 1.0), "logits": (-3.0, 3.0)})
    run("--dataset=digits", "--quantize=int8")
    assert "calibrated on 256 training images; --quan" in capsys.readouterr().out
    assert len(given.pop("calibration_samples")) == 256
    ranges.save(tmp_path / "quantization_ranges.json")

    run("--dataset=digits", "--quantize=int8")

    assert given["ranges"] == ranges
    assert "calibration_samples" not in given
    printed = capsys.readouterr().out
    assert "quantization_ranges.json, learned in training" in printed
    run("--quantize=int8")
    assert given["ranges"] == ranges, "without a data set"
    run()
    assert given["ranges"] is None, "float files"
    given.clear()
    run("--dataset=digits")
    assert not {"ranges", "calibration_samples"} & set(given)


def test_what_the_files_take_is_said(run, given, capsys):
    run()
    assert "Pass --normalization for files that take raw" in capsys.readouterr().out
    assert given["input"] == "float32"
    run("--normalization=0_to_1")
    assert given["input"] == "uint8"
    with pytest.raises(ValueError, match="--normalization is for a --student without"):
        run("--run_dir=r", "--normalization=0_to_1")


def test_calibration_samples_judge_if_there_are_no_others(student, pixels, tmp_path):
    (images, _), _ = pixels
    manifest = export_student(
        student,
        tmp_path / "export",
        ["onnx_int8"],
        calibration_samples=(images[:128] / 255.0).astype("float32"),
    )
    assert manifest["verification"]["samples"] == "the calibration samples"
    assert manifest["verification"]["num_samples"] == 128
    assert manifest["artifacts"]["onnx_int8"]["verification"]["agreement"] > 0.9


@pytest.mark.parametrize(
    ("text", "mean", "std"),
    [
        ("0_to_1", [0.0], [1.0]),
        ("-1_to_1", [0.5], [0.5]),
        ("0_to_255", [0.0], [1 / 255]),
        ("0.4,0.5,0.6:0.1,0.2,0.3", [0.4, 0.5, 0.6], [0.1, 0.2, 0.3]),
    ],
)
def test_normalizations(parse, text, mean, std):
    parse(f"--normalization={text}")
    found = read_normalization()
    assert (found["mean"], found["std"]) == (mean, std)


@pytest.mark.parametrize("text", ["", "0.5", "0.5:0", "0.5:a", "0.5,0.5:0.5", "1:2:3"])
def test_what_is_not_a_normalization(parse, text):
    parse(f"--normalization={text}")
    with pytest.raises(ValueError, match=f"--normalization must be.*={text}$"):
        read_normalization()
