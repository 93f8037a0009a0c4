"""Compares int8 files of single operations and blocks with the simulation in Keras.

    python benchmarks/int8_operations.py

Each operation stands between two convolutions of a small student, which trains for 20
steps with `QuantizationAware` on random images and is exported with its ranges. A
difference is measured in int8 steps of the student's outputs. The table goes to the
terminal and into docs/quantization.md.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from pathlib import Path

import keras
import numpy as np
from absl import app, flags
from int8_cases import CASES, student_with
from int8_report import int8_report
from report import describe_machine, markdown_table, write_section

from keras_diffkd import Distiller, QuantizationAware

flags.DEFINE_string("output", "docs/quantization.md", "File to write the table into.")
flags.DEFINE_list("operations", [], "Which; unset: all, and write the table.")

TITLE = "Operations"
STEPS = 20
FILES = {"tflite_int8": "TFLite", "onnx_int8": "ONNX"}


def row_of(name):
    """Returns the cells of an operation: its differences and what stays float."""
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    student = student_with(CASES[name])
    images = rng.normal(size=(32 * STEPS, 8, 8, 3)).astype("float32")
    labels = rng.integers(0, 10, 32 * STEPS)
    distiller = Distiller(student=student, quantization=QuantizationAware())
    distiller.compile(
        keras.optimizers.SGD(0.01),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        preflight=False,
    )
    distiller.fit(images, labels, batch_size=32, verbose=0)
    ranges = distiller.quantization_ranges()
    report = int8_report(distiller.strip(), ranges=ranges, samples=images[:256])
    return [
        name,
        *(
            f"{found['mean_steps']:.3f} ({found['max_steps']:.0f})"
            for found in (report["artifacts"][file]["simulation"] for file in FILES)
        ),
        ", ".join(f"`{path}`" for path in ranges.not_simulated),
    ]


def main(argv):
    """Measures the operations and writes the table."""
    del argv
    rows = []
    for name in flags.FLAGS.operations or list(CASES):
        rows.append(row_of(name))
        print(rows[-1], flush=True)
    header = ["operation", *(f"{name}: mean (largest)" for name in FILES.values())]
    text = (
        "Difference of an int8 file from what Keras simulates, in int8 steps of the "
        "outputs. Each operation stands between two convolutions of a small student, "
        "which trained for 20 steps on random images. Larger differences occur where a "
        "runtime computes the operation itself in another way: averages and resized "
        "maps often lie halfway between two values, and TFLite computes SiLU in two "
        "int8 operations."
        f"\n\n{markdown_table([*header, 'stays float'], rows)}\n\n"
        f"{describe_machine()}; `python benchmarks/int8_operations.py`."
    )
    print(text)
    if not flags.FLAGS.operations:
        write_section(Path(flags.FLAGS.output), TITLE, text)


if __name__ == "__main__":
    app.run(main)
