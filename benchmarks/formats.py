"""What every export format costs and loses: size, difference, metric, latency.

    python benchmarks/formats.py

Students are trained briefly on real handwritten digits, so that the metric means
something; they are kept in --runs, and a benchmark that was interrupted goes on from
there. Every student is exported in all formats with the real test images as samples,
and the files are timed in turns in one process, so that whatever else the machine does
falls on all of them. Tables go to the terminal and into docs/results.md.
"""

import multiprocessing
import os
import statistics
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import formats_students as students
import keras
import numpy as np
import tensorflow as tf
from absl import app, flags, logging
from formats_tables import FUNCTION, PREDICT, explanations, notes, table, targets
from report import describe_machine, write_section

from keras_diffkd.export import export_student
from keras_diffkd.export.formats import FORMATS
from keras_diffkd.export.records.report import read_verification_report
from keras_diffkd.models import load_model

flags.DEFINE_integer("repetitions", 9, "Turns of the timing.", lower_bound=2)
flags.DEFINE_float("seconds", 0.15, "Time of each file in a turn.", lower_bound=0.0)
flags.DEFINE_list("students", list(students.CASES), "Which students.")
flags.DEFINE_string("data_dir", "data", "Folder of prepared data sets.")
flags.DEFINE_string("runs", "runs/formats", "Folder of trained students and exports.")
flags.DEFINE_string("output", "docs/results.md", "File to write the tables into.")

TITLE = "Export formats"
# Everything is written and reported, however bad; the defaults would refuse it.
TOLERANCES = {"tolerance": 0.1, "quantized_tolerance": 1.0}


def trained(name):
    """Returns the path of a student, trained in a process of its own if it is not."""
    options = flags.FLAGS
    path = Path(options.runs) / f"{name}.keras"
    if not path.exists():
        # In a process of its own, so that it uses all cores and this one has but one.
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            aside = path.with_name(f".{name}.partial.keras")
            pool.apply(students.train, (name, str(aside), options.data_dir))
            os.replace(aside, path)
    return path


def measure(name):
    """Exports a student and times its files; returns `(case, report, times)`."""
    options = flags.FLAGS
    case, path = students.CASES[name], trained(name)
    (train, _), test, data = students.load(case, options.data_dir)
    student = load_model(str(path))
    folder = Path(options.runs) / name
    export_student(
        student,
        folder,
        [*FORMATS],
        input="uint8",
        samples=test,
        calibration_samples=train[: students.NUM_CALIBRATION_SAMPLES],
        normalization=data.normalization,
        metrics=students.metrics(case, data),
        source={"experiment": f"benchmarks/formats.py, {name}"},
        **TOLERANCES,
    )
    report = read_verification_report(folder / "report.json")
    return case, report, time_in_turns(calls(student, folder, test[0][:1], data))


def calls(student, folder, image, data):
    """Returns a function without arguments for every row: one image, one answer."""
    function = tf.function(lambda x: student(x, training=False), autograph=False)
    rows = {
        PREDICT: lambda: student.predict(image, verbose=0),
        FUNCTION: lambda: function(tf.constant(image)).numpy(),
    }
    mean, std = (np.array(data.normalization[key]) for key in ("mean", "std"))
    pixels = np.rint((image * std + mean) * 255).astype("uint8")
    for name, kind in FORMATS.items():
        runner = kind.open(folder / kind.file)
        inputs = {runner.inputs[0].name: pixels}
        rows[name] = lambda runner=runner, inputs=inputs: runner.run(inputs)
    return rows


def time_in_turns(rows):
    """Returns a dict from row to its milliseconds, a median for every turn."""
    options = flags.FLAGS
    times = {name: [] for name in rows}
    for call in rows.values():
        for _ in range(3):
            call()
    for _ in range(options.repetitions):
        for name, call in rows.items():
            found, end = [], time.perf_counter() + options.seconds
            while len(found) < 5 or time.perf_counter() < end:
                start = time.perf_counter()
                call()
                found.append(time.perf_counter() - start)
            times[name].append(1000 * statistics.median(found))
    return times


def write_report(results, load, minutes):
    """Prints the section and writes it into docs/results.md."""
    options = flags.FLAGS
    versions = next(iter(results.values()))[1]["versions"]
    runtimes = ", ".join(
        f"{name} {versions[name]}"
        for name in ("tf2onnx", "onnx", "onnxruntime", "ai-edge-litert")
    )
    parts = []
    for case, report, times in results.values():
        text = f"{report['keras']['parameters']:,} parameters; trained on {case.about}"
        samples = f"{report['num_samples']} test images"
        parts.append(f"**{case.title}**: {text}; {samples}.\n\n{table(report, times)}")
    tables = "\n\n".join(parts)
    text = f"""\
Files take raw uint8 pixels and are compared with the Keras student on test images;
quantization learned from {students.NUM_CALIBRATION_SAMPLES} training images. Points:
the metric less the Keras student's. ms: batch 1, one thread, mean ± standard deviation
of the medians of {options.repetitions} turns; of `predict`: median of the ratios within
a turn. `tf.function` and `keras predict` take normalized images. Students were trained
for a minute: metrics show the loss of a format, not the best student.

{targets(results)}

{tables}

Warnings of the verification:

{notes(results) or "- none"}

{explanations(results)}

{describe_machine()}, {runtimes}; load average {load:.1f} at the start,
{minutes:.0f} minutes. Command: `python benchmarks/formats.py`."""
    print(text)
    if options.output:
        write_section(options.output, TITLE, text)


def main(argv):
    """Trains what is missing, measures, and writes the report."""
    del argv
    logging.set_verbosity(logging.WARNING)  # TFDS tells of every file it opens.
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    load, start = os.getloadavg()[0], time.perf_counter()
    keras.utils.set_random_seed(0)
    results = {}
    for name in flags.FLAGS.students:
        results[name] = measure(name)
        elapsed = time.perf_counter() - start
        print(f"{name}: done after {elapsed:.0f} s", flush=True)
    write_report(results, load, (time.perf_counter() - start) / 60)


if __name__ == "__main__":
    app.run(main)
