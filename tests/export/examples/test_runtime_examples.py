"""The programs that run exported files elsewhere: as processes, without Keras."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_diffkd import datasets
from keras_diffkd.export import export_student
from keras_diffkd.models import build_model

pytestmark = pytest.mark.usefixtures("int8_in_this_process")

FOLDER = Path(__file__).parents[3] / "export" / "examples"
PROGRAMS = {"onnx": FOLDER / "run_onnx.py", "tflite": FOLDER / "run_tflite.py"}
FILES = {
    "onnx": "student.onnx",
    "onnx_int8": "student_int8.onnx",
    "tflite": "student.tflite",
    "tflite_float16": "student_float16.tflite",
    "tflite_dynamic": "student_dynamic.tflite",
    "tflite_int8": "student_int8.tflite",
}
# The programs normalize what a float32 input takes; they do so for any such file.
FILES_BY_INPUT = {"uint8": [*FILES], "float32": ["onnx", "tflite", "tflite_int8"]}
CASES = [(name, dtype) for dtype, names in FILES_BY_INPUT.items() for name in names]
NAMES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
# What the machine that a student runs on does not have.
ABSENT = ("keras", "keras_diffkd", "tensorflow", "onnx", "absl", "sklearn", "PIL")
OTHER_RUNTIME = {"onnx": "ai_edge_litert", "tflite": "onnxruntime"}


@pytest.fixture(scope="module")
def digits(data_dir, tmp_path_factory):
    """A student after three epochs, its exports for both inputs, and two images."""
    data = datasets.load_classification(
        "digits", data_dir=data_dir, batch_size=64, augment="none"
    )
    keras.utils.set_random_seed(0)
    student = build_model("digits_student", data.image_shape, 10)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    student.compile(keras.optimizers.Adam(0.01), loss)
    student.fit(data.train, epochs=3, steps_per_epoch=21, shuffle=False, verbose=0)
    images = np.concatenate([images for images, _ in data.test])
    mean, std = (np.array(data.normalization[key]) for key in ("mean", "std"))
    pixels = np.rint((images * std + mean) * 255).astype("uint8")
    folder = tmp_path_factory.mktemp("digits")
    for dtype, names in FILES_BY_INPUT.items():
        export_student(
            student,
            folder / dtype,
            names,
            input=dtype,
            samples=images[:100],
            labels=NAMES,
            normalization=data.normalization,
            quantized_tolerance=1.0,
        )
    for index in range(2):
        np.save(folder / f"{index}.npy", pixels[index])
    logits = student.predict(images[:2], verbose=0)
    return folder, keras.ops.convert_to_numpy(keras.ops.softmax(logits))


def run(command):
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("name", "dtype"), CASES)
def test_label_of_the_keras_student(name, dtype, digits):
    folder, probabilities = digits
    program = PROGRAMS[name.split("_")[0]]
    tolerance = 1e-3 if name in PROGRAMS else 0.1
    # Of the other files one image: each is a process.
    for index, expected in enumerate(probabilities[: 1 + (name in PROGRAMS)]):
        image = folder / f"{index}.npy"
        result = run([sys.executable, program, folder / dtype / FILES[name], image])

        assert result.returncode == 0, result.stderr
        lines = [line.split() for line in result.stdout.splitlines()]
        best = np.argsort(-expected)[:3]
        assert lines[0][1] == NAMES[best[0]]
        if name in PROGRAMS:
            assert [label for _, label in lines] == [NAMES[k] for k in best]
        for probability, label in lines:
            value = expected[NAMES.index(label)]
            assert float(probability) == pytest.approx(value, abs=tolerance)


@pytest.mark.parametrize("name", PROGRAMS)
def test_nothing_else_is_imported(name, digits):
    folder, probabilities = digits
    absent = [*ABSENT, OTHER_RUNTIME[name]]
    code = (
        "import runpy, sys\n"
        f"sys.modules.update(dict.fromkeys({absent}))\n"
        "sys.argv = sys.argv[1:]\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    file = folder / "uint8" / FILES[name]
    result = run([sys.executable, "-c", code, PROGRAMS[name], file, folder / "0.npy"])

    assert result.returncode == 0, result.stderr
    assert result.stdout.split()[1] == NAMES[probabilities[0].argmax()]
    imported = set(
        re.findall(r"^(?:import|from) (\w+)", PROGRAMS[name].read_text(), re.M)
    )
    runtime = {"onnx": "onnxruntime", "tflite": "ai_edge_litert"}[name]
    assert imported == {"json", "sys", "numpy", runtime}


@pytest.mark.parametrize("name", PROGRAMS)
def test_what_it_does_not_take(name, digits, tmp_path):
    folder, _ = digits
    file = folder / "uint8" / FILES[name]
    image = tmp_path / "image.npy"

    assert "image.npy" in run([sys.executable, PROGRAMS[name]]).stderr
    for wrong in (np.zeros((9, 8, 1), "uint8"), np.zeros((8, 8, 1), "float32")):
        np.save(image, wrong)
        result = run([sys.executable, PROGRAMS[name], file, image])
        assert result.returncode == 1
        assert "Expected uint8 [8, 8, 1]" in result.stderr


@pytest.fixture(params=PROGRAMS)
def program(request):
    return runpy.run_path(str(PROGRAMS[request.param]))


def test_file_without_normalization(program):
    for how in (None, {}, {"mean": [0], "std": [1], "input_range": [0, 1]}):
        with pytest.raises(SystemExit, match="how to normalize"):
            program["normalize"](np.zeros((2, 2, 1), "uint8"), how)


def test_classes_of_a_mask(program, capsys):
    logits = np.zeros((2, 4, 3), "float32")
    logits[..., 0] = 1
    logits[0, :2, 2] = 2
    program["print_result"]({"logits": logits}, ["sky", "road", "car"], (2, 4))
    assert capsys.readouterr().out == "0.7500 sky\n0.2500 car\n"


def test_one_logit(program, capsys):
    outputs = {"logits": np.array([np.log(3)], "float32")}
    program["print_result"](outputs, ["no", "yes"], (2, 2))
    assert capsys.readouterr().out == "0.7500 yes\n0.2500 no\n"


@pytest.mark.parametrize(
    ("values", "how", "labels", "printed"),
    [
        ([0.75], {"is_probability": True}, ["no", "yes"], "0.7500 yes\n0.2500 no\n"),
        ([0.75], {"is_probability": True}, ["b"], "0.7500 b\n0.2500 not b\n"),
        ([0.25, 0.75], {"is_probability": True}, None, "0.7500 1\n0.2500 0\n"),
        ([np.log(3), 0], {"kind": "threshold"}, None, "0.7500 0\n0.5000 1\n"),
    ],
)
def test_probabilities_by_what_the_output_is(
    values, how, labels, printed, program, capsys
):
    outputs = {"logits": np.array(values, "float32")}
    program["print_result"](outputs, labels, (2, 2), {"logits": how})
    assert capsys.readouterr().out == printed


def test_class_itself(program, capsys):
    outputs = {"logits": np.array(1, "int64")}
    program["print_result"](outputs, ["no", "yes"], (2, 2))
    assert capsys.readouterr().out == "1.0000 yes\n"


def test_boxes(program, capsys):
    boxes = [[0, 0, 0.5, 0.5], [0, 0, 0.5, 0.4], [0.5, 0.5, 1, 1], [0, 0, 1, 1]]
    scores = [[0.7, 0.1], [0.8, 0.6], [0.2, 0.9], [0.5, 0.4]]
    outputs = {
        "bbox_regression": np.zeros((4, 4), "float32"),
        "boxes": np.array(boxes, "float32"),
        "cls_logits": np.zeros((4, 2), "float32"),
        "scores": np.array(scores, "float32"),
    }
    program["print_result"](outputs, ["cat", "dog"], (10, 20))
    # The first box goes: a better one of its class covers it. The 0.5 is not above.
    assert capsys.readouterr().out.splitlines() == [
        "0.9000 dog left, top, right, bottom: [10.0, 5.0, 20.0, 10.0]",
        "0.8000 cat left, top, right, bottom: [0.0, 0.0, 10.0, 4.0]",
        "0.6000 dog left, top, right, bottom: [0.0, 0.0, 10.0, 4.0]",
    ]


def test_boxes_that_the_graph_has_suppressed(program, capsys):
    outputs = {
        "boxes": np.array([[0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 0, 0]], "float32"),
        "scores": np.array([0.9, 0.6, 0.0], "float32"),
        "classes": np.array([1, 1, 0], "int32"),
        "num_detections": np.array(2, "int32"),
    }
    program["print_result"](outputs, None, (2, 2))
    assert [line.split()[:2] for line in capsys.readouterr().out.splitlines()] == [
        ["0.9000", "1"],
        ["0.6000", "1"],
    ]
