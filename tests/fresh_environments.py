"""Runs exported files in new virtual environments that hold NumPy and a runtime alone.

    python tests/fresh_environments.py

pip fetches the packages, so this is no part of the suite: `make test-runtimes`. A
classifier, a segmenter and a detector, with and without non-maximum suppression, are
exported with raw pixels as input, and `export/examples/` runs them; what they print
must be what the same programs say of the Keras student's outputs.
"""

import contextlib
import io
import re
import runpy
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

import keras
import numpy as np

from keras_diffkd.datasets import load_classification
from keras_diffkd.export import decoded, export_student
from keras_diffkd.models import build_model

PROGRAMS = Path(__file__).parents[1] / "export" / "examples"
RUNTIMES = {"onnx": "onnxruntime", "tflite": "ai-edge-litert"}
NORMALIZATION = {"mean": [0.5], "std": [0.25]}
# Of scores and probabilities. Boxes are printed in tenths of a pixel.
TOLERANCES = {"float32": 2e-3, "int8": 0.15}


def main():
    """Makes the environments and the exports, and compares."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        pythons = {family: make_environment(root, family) for family in RUNTIMES}
        cases = [classifier(root), segmenter(root), *detectors(root)]
        failed = [
            line
            for title, export, image, expected in cases
            for line in check(title, export, image, expected, pythons)
        ]
    for line in failed:
        print(line, file=sys.stderr)
    sys.exit(1 if failed else 0)


def make_environment(root, family):
    """Returns the Python of an environment with a runtime and NumPy."""
    folder = root / family
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    pip = [python, "-m", "pip", "--disable-pip-version-check"]
    run([*pip, "install", "--quiet", "numpy", RUNTIMES[family]])
    packages = run([*pip, "freeze"]).split()
    print(f"{RUNTIMES[family]}: {', '.join(packages)}")
    unwanted = [name for name in packages if re.match("(keras|tensorflow|onnx=)", name)]
    if unwanted:
        sys.exit(f"The environment is not what it should be. Received: {unwanted}")
    return python


def classifier(root):
    """Exports a classifier of digits after three epochs."""
    data = load_classification(
        "digits", data_dir=str(root / "data"), batch_size=64, augment="none"
    )
    keras.utils.set_random_seed(0)
    student = build_model("digits_student", data.image_shape, 10)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    student.compile(keras.optimizers.Adam(0.01), loss)
    student.fit(data.train, epochs=3, steps_per_epoch=21, shuffle=False, verbose=0)
    images = np.concatenate([images for images, _ in data.test])
    options = {"labels": data.label_names, "normalization": data.normalization}
    export = export_of(root, "classifier", student, images, quantize="int8", **options)
    outputs = {"logits": student(images[:1])}
    pixels = images[0] * data.normalization["std"] + data.normalization["mean"]
    image = np.rint(255 * pixels).astype("uint8")
    return "classifier", export, image, said(outputs, data.label_names, image)


def segmenter(root):
    """Exports a segmenter with random weights."""
    student = randomized("deeplabv3_scenes_student", 11)
    pixels = scenes()
    export = export_of(root, "segmenter", student, pixels)
    outputs = {"logits": student(normalized(pixels[:1]), training=False)}
    return "segmenter", export, pixels[0], said(outputs, None, pixels[0])


def detectors(root):
    """Exports a detector with random weights that finds something, in two ways."""
    detector, pixels = randomized("retinanet_scenes_student", 10), scenes()
    images = normalized(pixels[:1])
    logits = np.sort(np.ravel(detector(images, training=False)["cls_logits"]))
    bias = next(w for w in detector.weights if "logits" in w.path and "bias" in w.path)
    bias.assign(bias - (logits[-21] + logits[-20]) / 2)  # Twenty are above 0.5.
    for nms in (None, {}):
        title = "detector" if nms is None else "detector with suppression"
        formats = ["onnx", "tflite"] if nms is None else ["onnx"]
        export = export_of(root, title, detector, pixels, formats, nms=nms)
        outputs = decoded(detector, nms)(images, training=False)
        yield title, export, pixels[0], said(outputs, None, pixels[0])


def export_of(root, title, student, samples, formats=("onnx", "tflite"), **options):
    """Returns the folder of an export that takes raw pixels."""
    folder = root / title.replace(" ", "_")
    options = {"normalization": NORMALIZATION, "tolerance": 1e-3, **options}
    options["quantized_tolerance"] = 1.0
    export_student(student, folder, formats, input="uint8", samples=samples, **options)
    return folder


def randomized(name, num_classes):
    """Returns a model whose outputs vary as if it had been trained."""
    keras.utils.set_random_seed(0)
    model = build_model(name, (64, 64, 3), num_classes)
    rng = np.random.default_rng(0)
    for weight in model.weights:
        noise = 0.02 * rng.standard_normal(weight.shape).astype("float32")
        weight.assign(weight + noise)
    return model


def scenes():
    """Returns images of noise with a bright patch, as pixels."""
    pixels = np.random.default_rng(1).integers(0, 90, (4, 64, 64, 3), "uint8")
    pixels[:, 10:40, 20:50] += 120
    return pixels


def normalized(pixels):
    """Returns what the student takes, in NumPy."""
    mean, std = (np.array(NORMALIZATION[key]) for key in ("mean", "std"))
    return ((pixels / 255 - mean) / std).astype("float32")


def said(outputs, labels, image):
    """Returns the lines that the programs print for outputs of the Keras student."""
    program = runpy.run_path(str(PROGRAMS / "run_onnx.py"))
    arrays = {name: np.array(output)[0] for name, output in outputs.items()}
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        program["print_result"](arrays, labels, image.shape[:2])
    return printed.getvalue().splitlines()


def check(title, export, image, expected, pythons):
    """Runs every file of an export; prints what came of it, and returns failures."""
    if not expected:
        return [f"{title}: the Keras student says nothing, which proves nothing"]
    path, failed = export / "image.npy", []
    np.save(path, image)
    for family, python in pythons.items():
        for file in sorted(export.glob(f"*.{family}")):
            precision = "int8" if "int8" in file.name else "float32"
            lines = run(
                [python, PROGRAMS / f"run_{family}.py", file, path]
            ).splitlines()
            same = agree(lines, expected, precision)
            print(f"{title}, {file.name}: {'the same' if same else 'DIFFERENT'}")
            if not same:
                failed.append(f"{title}, {file.name}: {lines}, expected {expected}")
    return failed


def agree(lines, expected, precision):
    """Whether two programs say the same; of int8, with the same best answer."""
    count = 1 if precision == "int8" else None
    found, wanted = (list(map(words, text[:count])) for text in (lines, expected))
    if [len(line) for line in found] != [len(line) for line in wanted]:
        return False
    return all(
        same_word(word, other, 0.11 if index else TOLERANCES[precision])
        for line, others in zip(found, wanted, strict=True)
        for index, (word, other) in enumerate(zip(line, others, strict=True))
    )


def words(line):
    """Returns the numbers and names of a line: a score first, boxes last."""
    return re.findall(r"[^\s,\[\]]+", line)


def same_word(word, other, tolerance):
    """Whether two numbers are near, or two names the same."""
    try:
        return abs(float(word) - float(other)) <= tolerance
    except ValueError:
        return word == other


def run(command):
    """Returns what a command prints."""
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        sys.exit(f"{' '.join(map(str, command))} has failed: {result.stderr}")
    return result.stdout


if __name__ == "__main__":
    main()
